"""Caching, host information, replay buffers and a dashboard under one short name."""

from memories.replay import (
    Experience,
    ExperienceReplay,
    MemoryPlugin,
    PluginManager,
    PrioritizedExperienceReplay,
)

__all__ = [
    "Experience",
    "ExperienceReplay",
    "MemoryPlugin",
    "PluginManager",
    "PrioritizedExperienceReplay",
]
