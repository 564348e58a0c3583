"""Caching, host information, replay buffers and a dashboard under one short name."""

from memories.dashboard.launch import run_dashboard
from memories.replay import (
    Experience,
    ExperienceReplay,
    MemoryPlugin,
    PluginManager,
    PrioritizedExperienceReplay,
)
from memories.tiers.info import INFO
from memories.tiers.memoize import CacheInfo, memoize
from memories.tiers.monitor import MemoryMonitor, MemorySample, monitor_memory_usage

__all__ = [
    "INFO",
    "CacheInfo",
    "Experience",
    "ExperienceReplay",
    "MemoryMonitor",
    "MemoryPlugin",
    "MemorySample",
    "PluginManager",
    "PrioritizedExperienceReplay",
    "memoize",
    "monitor_memory_usage",
    "run_dashboard",
]

if __name__ == "__main__":  # `streamlit run memory.py`
    run_dashboard()
