"""The seeds' name of the tier on the GPUs."""

from __future__ import annotations

from ..tiers.hot_memory import HotMemory

__all__ = ["HotMemory"]
