"""The seeds' name of the tier in object storage."""

from __future__ import annotations

from ..tiers.glacier_memory import GlacierMemory

__all__ = ["GlacierMemory"]
