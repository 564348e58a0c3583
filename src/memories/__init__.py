"""Memory for learning systems on a Ray cluster: tiers, replay and Memoria.

``memories.connect()`` is the entrance to a cluster. Importing this package loads neither Ray nor
torch; what needs them is imported when it is used.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .errors import MemoriesError

if TYPE_CHECKING:
    from .actors.cluster import Cluster, connect
    from .actors.config import ClusterConfig
    from .actors.distributed_manager import DistributedMemoryManager
    from .actors.memory_manager import MemoryManager

try:
    __version__ = version("memories")
except PackageNotFoundError:  # a checkout that was put on the path without being installed
    __version__ = "0+unknown"

_LAZY = {
    "Cluster": "actors.cluster",
    "ClusterConfig": "actors.config",
    "DistributedMemoryManager": "actors.distributed_manager",
    "MemoryManager": "actors.memory_manager",
    "connect": "actors.cluster",
}
"""What needs Ray, and is imported when it is used."""

__all__ = [
    "Cluster",
    "ClusterConfig",
    "DistributedMemoryManager",
    "MemoriesError",
    "MemoryManager",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
