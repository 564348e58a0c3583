"""Experience replay in one process: columns, samplers, writers. No Ray, no torch at import."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch
    from .buffer import PrioritizedReplayBuffer, ReplayBuffer, UpdateResult
    from .experience import Experience, ExperienceReplay, PrioritizedExperienceReplay
    from .frames import ImageStorage
    from .handles import shard_of
    from .plugins import MemoryPlugin, PluginManager
    from .rate_limiters import Counters, MinSize, Queue, RateLimiter, SamplesPerInsert, Stack
    from .removers import OldestRemover
    from .samplers import PrioritizedSampler, UniformSampler
    from .schedules import LinearSchedule, Schedule
    from .schema import ColumnSpec, Schema
    from .selector import Draw, Rows, Selector
    from .writers import BatchWriter, EpisodeWriter, Hindsight, NStepWriter

_HOMES = {
    "batch": ("Batch",),
    "buffer": ("PrioritizedReplayBuffer", "ReplayBuffer", "UpdateResult"),
    "experience": ("Experience", "ExperienceReplay", "PrioritizedExperienceReplay"),
    "frames": ("ImageStorage",),
    "handles": ("shard_of",),
    "plugins": ("MemoryPlugin", "PluginManager"),
    "rate_limiters": ("Counters", "MinSize", "Queue", "RateLimiter", "SamplesPerInsert", "Stack"),
    "removers": ("OldestRemover",),
    "samplers": ("PrioritizedSampler", "UniformSampler"),
    "schedules": ("LinearSchedule", "Schedule"),
    "schema": ("ColumnSpec", "Schema"),
    "selector": ("Draw", "Rows", "Selector"),
    "writers": ("BatchWriter", "EpisodeWriter", "Hindsight", "NStepWriter"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "BatchWriter",
    "ColumnSpec",
    "Counters",
    "Draw",
    "EpisodeWriter",
    "Experience",
    "ExperienceReplay",
    "Hindsight",
    "ImageStorage",
    "LinearSchedule",
    "MemoryPlugin",
    "MinSize",
    "NStepWriter",
    "OldestRemover",
    "PluginManager",
    "PrioritizedExperienceReplay",
    "PrioritizedReplayBuffer",
    "PrioritizedSampler",
    "Queue",
    "RateLimiter",
    "ReplayBuffer",
    "Rows",
    "SamplesPerInsert",
    "Schedule",
    "Schema",
    "Selector",
    "Stack",
    "UniformSampler",
    "UpdateResult",
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
