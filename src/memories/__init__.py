"""Memory for learning systems on a Ray cluster: tiers, replay and Memoria.

``memories.connect()`` is the entrance to a cluster. Importing this package loads neither Ray nor
torch; what needs them is imported when it is used.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .errors import MemoriesError

try:
    __version__ = version("memories")
except PackageNotFoundError:  # a checkout that was put on the path without being installed
    __version__ = "0+unknown"

__all__ = ["MemoriesError", "__version__"]
