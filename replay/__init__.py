"""Experience replay in one process: columns, samplers, writers. No Ray, no torch at import."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch
    from .buffer import PrioritizedReplayBuffer, PriorityStats, ReplayBuffer, UpdateResult
    from .checkpoint import BufferState, CheckpointReader
    from .experience import Experience, ExperienceReplay, PrioritizedExperienceReplay
    from .frames import ImageStorage
    from .handles import shard_of
    from .ordered import FifoSampler, LifoSampler, MaxHeapSampler, MinHeapSampler
    from .plugins import MemoryPlugin, PluginManager
    from .presets import make_buffer
    from .rate_limiters import Counters, MinSize, Queue, RateLimiter, SamplesPerInsert, Stack
    from .removers import (
        HighestPriorityRemover,
        LowestPriorityRemover,
        NewestRemover,
        OldestRemover,
        UniformRemover,
    )
    from .samplers import PrioritizedSampler, UniformSampler
    from .schedules import LinearSchedule, Schedule
    from .schema import ColumnSpec, Schema
    from .selector import Draw, Rows, Selector
    from .sequences import EpisodeSampler, SequenceSampler
    from .writers import BatchWriter, EpisodeWriter, Hindsight, NStepWriter

_HOMES = {
    "batch": ("Batch",),
    "buffer": ("PrioritizedReplayBuffer", "PriorityStats", "ReplayBuffer", "UpdateResult"),
    "checkpoint": ("BufferState", "CheckpointReader"),
    "experience": ("Experience", "ExperienceReplay", "PrioritizedExperienceReplay"),
    "frames": ("ImageStorage",),
    "handles": ("shard_of",),
    "plugins": ("MemoryPlugin", "PluginManager"),
    "rate_limiters": ("Counters", "MinSize", "Queue", "RateLimiter", "SamplesPerInsert", "Stack"),
    "ordered": ("FifoSampler", "LifoSampler", "MaxHeapSampler", "MinHeapSampler"),
    "presets": ("make_buffer",),
    "removers": (
        "HighestPriorityRemover",
        "LowestPriorityRemover",
        "NewestRemover",
        "OldestRemover",
        "UniformRemover",
    ),
    "samplers": ("PrioritizedSampler", "UniformSampler"),
    "schedules": ("LinearSchedule", "Schedule"),
    "schema": ("ColumnSpec", "Schema"),
    "selector": ("Draw", "Rows", "Selector"),
    "sequences": ("EpisodeSampler", "SequenceSampler"),
    "writers": ("BatchWriter", "EpisodeWriter", "Hindsight", "NStepWriter"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "BatchWriter",
    "BufferState",
    "CheckpointReader",
    "ColumnSpec",
    "Counters",
    "Draw",
    "EpisodeSampler",
    "EpisodeWriter",
    "Experience",
    "ExperienceReplay",
    "FifoSampler",
    "HighestPriorityRemover",
    "Hindsight",
    "ImageStorage",
    "LifoSampler",
    "LinearSchedule",
    "LowestPriorityRemover",
    "MaxHeapSampler",
    "MemoryPlugin",
    "MinHeapSampler",
    "MinSize",
    "NStepWriter",
    "NewestRemover",
    "OldestRemover",
    "PluginManager",
    "PrioritizedExperienceReplay",
    "PrioritizedReplayBuffer",
    "PrioritizedSampler",
    "PriorityStats",
    "Queue",
    "RateLimiter",
    "ReplayBuffer",
    "Rows",
    "SamplesPerInsert",
    "Schedule",
    "Schema",
    "Selector",
    "SequenceSampler",
    "Stack",
    "UniformRemover",
    "UniformSampler",
    "UpdateResult",
    "make_buffer",
    "shard_of",
]


def __getattr__(name: str) -> Any:
    """Load a name's module when it is first used: importing the package stays cheap."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
