"""What actors say of themselves when the coordinator asks: frozen, small, and plain numbers.

A replay shard's ``report()`` returns a `ShardReport`, a Memoria actor's a `MemoriaReport`, a tier actor
adds a `HostReport` to its greeting. Each is made in at most a millisecond, and does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def _powers(base: float, first: int, last: int, step: float = 1.0) -> tuple[float, ...]:
    return tuple(float(f"{base**e:.6g}") for e in np.arange(first, last + step / 2, step))


PRIORITY_EDGES = (0.0, *_powers(10, -6, 6, 0.5))
"""Two bins a decade; the first bin has what is next to never drawn."""
AGE_EDGES_S = (
    0.0,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    86400.0,
)
LIFESPAN_EDGES = (0.0, *_powers(2, 0, 16))


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between neighbouring edges; what is outside is counted in the outermost bins.

    Edges are the same wherever a figure is made, so that those of several shards can be added.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Any, edges: tuple[float, ...]) -> Histogram:
        """Count the values, an array of any shape; NaN is left out."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        flat = flat[~np.isnan(flat)]
        counts, _ = np.histogram(np.clip(flat, edges[0], edges[-1]), bins=np.asarray(edges))
        return cls(edges, tuple(int(count) for count in counts))

    @classmethod
    def sum(cls, parts: Iterable[Histogram]) -> Histogram:
        """All of them together; empty ones do not count. Raises `ValueError` where edges differ."""
        filled = [part for part in parts if part.counts]
        if not filled:
            return cls()
        edges = filled[0].edges
        if any(part.edges != edges for part in filled):
            raise ValueError("histograms with different edges cannot be added")
        counts = np.sum([part.counts for part in filled], axis=0)
        return cls(edges, tuple(int(count) for count in counts))

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """One copy of a replay shard, as it sees itself. Counts are since the buffer was made.

    `kind` is that of the buffer: uniform, prioritized, queue. `in_sync`: a primary's backup has all that
    the primary has acknowledged; of a backup, that it has heard from its primary lately. A primary that
    acts alone in a view that the coordinator recorded says ``solo``.
    """

    buffer: str
    shard: int
    role: str
    """"primary" or "backup"."""
    node: str
    view: int
    in_sync: bool = True
    solo: bool = False
    kind: str = "uniform"
    rows: int = 0
    capacity: int = 0
    """Rows; 0 where there is no limit."""
    nbytes: int = 0
    capacity_bytes: int = 0
    """0 where there is no limit."""
    inserted: int = 0
    """Rows."""
    sampled: int = 0
    """Rows, not batches."""
    updated: int = 0
    """Priorities that were applied."""
    stale_updates: int = 0
    """Priorities that came too late: the row was gone."""
    repeated: int = 0
    """Rows of batches that a writer sent again and that were there already."""
    waiting_writers: int = 0
    waiting_samplers: int = 0
    """Calls that the rate limiter holds back now."""
    limiter: str = ""
    """The rate limiter in words, such as "samples per insert 4 +- 1,000"; empty for none."""
    lag_rows: int = 0
    """Rows that the backup has not confirmed yet."""
    priorities: Histogram = field(default_factory=Histogram)
    """Over `PRIORITY_EDGES`."""
    row_ages: Histogram = field(default_factory=Histogram)
    """Seconds since the rows that are held were inserted, over `AGE_EDGES_S`."""
    draw_ages: Histogram = field(default_factory=Histogram)
    """Seconds since insertion of the rows that were drawn lately, over `AGE_EDGES_S`: staleness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngramLink:
    """Two engrams that fire together, by their numbers in the first row, with how often."""

    source: int
    target: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One memory of a Memoria network: engrams by type over all rows of the batch."""

    session: str
    timestep: int = 0
    working: int = 0
    shortterm: int = 0
    longterm: int = 0
    lifespans: Histogram = field(default_factory=Histogram)
    """Over `LIFESPAN_EDGES`."""
    strongest: tuple[EngramLink, ...] = ()
    """The links with the highest counts, a few dozen at most."""
    types: tuple[tuple[int, int], ...] = ()
    """Of the engrams in `strongest`: number and type (1 working, 2 short-term, 3 long-term)."""

    @property
    def engrams(self) -> int:
        return self.working + self.shortterm + self.longterm


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoriaReport:
    """A Memoria actor: where it runs, and each of its sessions that is in memory."""

    name: str
    node: str
    device: str = "cpu"
    sessions: tuple[SessionReport, ...] = ()


@dataclass(frozen=True, slots=True)
class GpuReport:
    """One GPU of a node, in bytes."""

    index: int
    name: str
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """The machine that a tier actor runs on, and what the actor itself has done since it started.

    `gpus` are those of the process; `reads` and `writes` are keys.
    """

    memory_used_bytes: int
    memory_total_bytes: int
    cpu_percent: float
    cpus: int
    disk_free_bytes: int
    disk_total_bytes: int
    gpus: tuple[GpuReport, ...] = ()
    reads: int = 0
    writes: int = 0
