"""`Snapshot`: one frozen picture of a cluster. What `status()` returns and the dashboard draws.

All of it is plain data that can be pickled and written as JSON. Whoever reads it looks at `format` first:
it is raised when a field changes its meaning or goes; new fields have defaults and do not raise it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .reports import GpuReport, Histogram, SessionReport

FORMAT = 1


@dataclass(frozen=True, slots=True)
class TierStatus:
    """One tier on one node. `reads` and `writes` are keys since the coordinator started."""

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
    """One node of the Ray cluster that carries tiers, or did.

    `used_bytes` and `capacity_bytes` are those of its memory tiers (hot and warm). The machine's own
    figures are 0 until a tier actor has reported them; an offline node keeps its last ones.
    """

    node: str
    name: str
    online: bool
    used_bytes: int
    capacity_bytes: int
    head: bool = False
    heartbeat_age_s: float = 0.0
    """Seconds since a tier actor of the node has answered."""
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    object_store_used_bytes: int = 0
    object_store_bytes: int = 0
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    cpu_percent: float = 0.0
    cpus: int = 0
    gpus: tuple[GpuReport, ...] = ()
    reason: str = ""
    """Of a node that is down, what Ray says of it."""

    @property
    def memory_usage(self) -> float:
        """Percent of the node's memory tiers (hot and warm) in use."""
        return 100.0 * self.used_bytes / self.capacity_bytes if self.capacity_bytes else 0.0


@dataclass(frozen=True, slots=True)
class UnstartedTier:
    """A tier that a node should have, whose actor could not be started or has been ended."""

    node: str
    tier: str
    reason: str
    """What Ray, or the exception, says."""


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """One background loop of the coordinator."""

    name: str
    rounds: int
    failures: int
    last_good_s: float
    last_error: str


@dataclass(frozen=True, slots=True)
class ReadStatus:
    """Keys that were looked up for reading since the coordinator started: where they were found."""

    found: Mapping[str, int] = field(default_factory=dict)
    """By tier: that of the nearest copy."""
    missed: int = 0

    @property
    def total(self) -> int:
        return sum(self.found.values()) + self.missed

    def hit_rate(self, tier: str) -> float:
        """Percent of all reads that the tier served; 0.0 before the first read."""
        return 100.0 * self.found.get(tier, 0) / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """What went from one tier to another since the coordinator started."""

    source: str
    target: str
    what: str
    """"moved", "repaired"."""
    keys: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """What moves by itself: by reason (probation, age, pressure, promotion, prefetch), since the
    coordinator started."""

    policy: str = ""
    """The name of the eviction policy."""
    max_bytes_per_s: float = 0.0
    """The limit in the background; writers that wait for room are not held up by it."""
    moved_keys: Mapping[str, int] = field(default_factory=dict)
    moved_bytes: Mapping[str, int] = field(default_factory=dict)
    behind: bool = False
    """Whether stores, reads or members that came are still to be looked at."""
    fetched_bytes: int = 0
    """Brought up because the predictor expected a read."""
    fetched_in_vain_bytes: int = 0
    trusted_patterns: tuple[str, ...] = ()
    """What the predictor goes by at present; empty where it has switched itself off."""


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key: the fastest tier that has it, on how many nodes, and how often it was read lately."""

    key: str
    tier: str
    nbytes: int
    copies: int
    reads: int = 0
    pinned: bool = False
    priority: float = 0.0


@dataclass(frozen=True, slots=True)
class EventStatus:
    """Something that happened; `keys` are the first few of `count`."""

    number: int
    at_s: float
    what: str
    member: str = ""
    count: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that is not as it should be, and what to do. `level` is "warning" or "error"."""

    level: str
    about: str
    """Of what it speaks: "node", "tier", "replay", "memoria", "coordinator"."""
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard of a replay buffer: its primary and its backup. Nodes are empty where there is none."""

    shard: int
    node: str
    backup_node: str
    view: int
    in_sync: bool
    solo: bool
    rows: int
    nbytes: int
    lag_rows: int
    age_s: float
    """Since the primary has answered."""


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """One replay buffer over all of its shards; counts are rows since it was made, by the primaries."""

    name: str
    kind: str
    rows: int
    capacity: int
    nbytes: int
    capacity_bytes: int
    inserted: int
    sampled: int
    inserts_per_s: float = 0.0
    samples_per_s: float = 0.0
    updated: int = 0
    stale_updates: int = 0
    repeated: int = 0
    waiting_writers: int = 0
    waiting_samplers: int = 0
    limiter: str = ""
    priorities: Histogram = field(default_factory=Histogram)
    row_ages: Histogram = field(default_factory=Histogram)
    draw_ages: Histogram = field(default_factory=Histogram)
    shards: tuple[ShardStatus, ...] = ()
    age_s: float = 0.0
    """Since the shard that was heard longest ago has answered."""

    @property
    def samples_per_insert(self) -> float:
        return self.sampled / self.inserted if self.inserted else 0.0


@dataclass(frozen=True, slots=True)
class MemoriaStatus:
    """One Memoria network; `age_s` seconds since its actor has answered."""

    name: str
    node: str
    device: str
    sessions: tuple[SessionReport, ...]
    age_s: float = 0.0


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
    format: int = FORMAT
    version: str = ""
    """The version of Memories that the coordinator runs."""
    phase: str = "serving"
    """How far the coordinator is; requests wait until it is "serving"."""
    epoch: int = 0
    started_s: float = 0.0
    """When this coordinator started; counts begin there."""
    starving: int = 0
    """Keys that want another copy, for which there is no place now."""
    copying: int = 0
    """Keys that are being copied or moved now."""
    away: tuple[str, ...] = ()
    """Durable members that are down and hold something, or may: their disk is missed."""
    unstarted: tuple[UnstartedTier, ...] = ()
    """Tiers that should be there and are not; the coordinator tries again every few seconds."""
    reads: ReadStatus = field(default_factory=ReadStatus)
    flows: tuple[FlowStatus, ...] = ()
    migration: MigrationStatus = field(default_factory=MigrationStatus)
    largest: tuple[KeyStatus, ...] = ()
    hottest: tuple[KeyStatus, ...] = ()
    replay: tuple[ReplayStatus, ...] = ()
    memoria: tuple[MemoriaStatus, ...] = ()
    events: tuple[EventStatus, ...] = ()
    """The last hundred, the newest first."""
    advice: tuple[Advice, ...] = ()
    """What is not as it should be, the worst first; empty in a healthy cluster."""

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
