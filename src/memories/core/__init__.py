"""Import paths of the seeds: managers, policies and the four tiers, each imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cold_memory import ColdMemory
    from .glacier_memory import GlacierMemory
    from .hot_memory import HotMemory
    from .memory_manager import DistributedMemoryManager, MemoryManager
    from .policies import MigrationPolicy
    from .warm_memory import WarmMemory

_MODULES = {
    "ColdMemory": "cold_memory",
    "DistributedMemoryManager": "memory_manager",
    "GlacierMemory": "glacier_memory",
    "HotMemory": "hot_memory",
    "MemoryManager": "memory_manager",
    "MigrationPolicy": "policies",
    "WarmMemory": "warm_memory",
}

__all__ = [
    "ColdMemory",
    "DistributedMemoryManager",
    "GlacierMemory",
    "HotMemory",
    "MemoryManager",
    "MigrationPolicy",
    "WarmMemory",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
