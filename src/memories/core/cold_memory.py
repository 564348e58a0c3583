"""The seeds' name of the tier on local disk."""

from __future__ import annotations

from ..tiers.cold_memory import ColdMemory

__all__ = ["ColdMemory"]
