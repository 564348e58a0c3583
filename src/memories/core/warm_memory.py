"""The seeds' name of the tier in RAM."""

from __future__ import annotations

from ..tiers.warm_memory import WarmMemory

__all__ = ["WarmMemory"]
