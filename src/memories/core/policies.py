"""``from memories.core.policies import MigrationPolicy``: how users set when data moves between tiers."""

from __future__ import annotations

from ..tiers.policies import MigrationPolicy

__all__ = ["MigrationPolicy"]
