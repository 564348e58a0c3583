"""`Snapshot`: one frozen picture of a cluster. What `status()` returns and the dashboard draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TierStatus:
    """One tier on one node."""

    member: str
    tier: str
    node: str
    keys: int
    used_bytes: int
    capacity_bytes: int
    durable: bool
    reads: int = 0
    writes: int = 0

    @property
    def usage_percent(self) -> float:
        return 100.0 * self.used_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of the Ray cluster that carries tiers, or did."""

    node: str
    name: str
    online: bool
    used_bytes: int
    capacity_bytes: int

    @property
    def memory_usage(self) -> float:
        """Percent of the node's memory tiers (hot and warm) in use."""
        return 100.0 * self.used_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """One background loop of the coordinator."""

    name: str
    rounds: int
    failures: int
    last_good_s: float
    last_error: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at `taken_s` (seconds since the Unix epoch)."""

    cluster: str
    taken_s: float
    nodes: tuple[NodeStatus, ...] = ()
    tiers: tuple[TierStatus, ...] = ()
    loops: tuple[LoopStatus, ...] = ()
    keys: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of event was announced: moved, evicted, repaired, lost, ..."""

    def tier_totals(self) -> dict[str, tuple[int, int]]:
        """Used and available bytes of each tier over all nodes."""
        totals: dict[str, tuple[int, int]] = {}
        for status in self.tiers:
            used, capacity = totals.get(status.tier, (0, 0))
            totals[status.tier] = (used + status.used_bytes, capacity + status.capacity_bytes)
        return totals

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        return asdict(self)
