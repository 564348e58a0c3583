"""The managers, under the path of the seeds."""

from __future__ import annotations

from ..actors.distributed_manager import DistributedMemoryManager
from ..actors.memory_manager import MemoryManager

__all__ = ["DistributedMemoryManager", "MemoryManager"]
