"""`ShardFigures`: what a replica of a shard says of itself when the coordinator asks, at next to no cost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...replay.buffer import ReplayBuffer, UpdateResult
from ...replay.handles import LOCAL_BITS, HandleLayout
from ..reports import AGE_EDGES_S, PRIORITY_EDGES, Histogram, ShardReport
from .core.shard import Role, ShardCore
from .spec import ReplaySpec

NOTE_EVERY_S = 0.5
MOST_NOTES = 4096
"""Of insertions over time; when they are full, every other one goes, so all of the time stays covered."""
DRAWN_ROWS = 32
"""Rows of one draw whose age is looked at."""
DRAWS_KEPT = 64
LOOKED_PRIORITIES = 8192
LARGE_ROWS = 100_000
LARGE_EVERY_S = 5.0
"""A shard with more rows counts its priorities only so often."""


class ShardFigures:
    """Belongs to the shell of one replica; not thread-safe."""

    def __init__(
        self, core: ShardCore, spec: ReplaySpec, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._spec = spec
        self._clock = clock
        self._times: list[float] = []
        self._numbers: list[int] = []
        self._noted_s = float("-inf")
        self._draws: deque[tuple[float, NDArray[np.int64]]] = deque(maxlen=DRAWS_KEPT)
        self._applied = 0
        self._stale = 0
        self._priorities = Histogram()
        self._priorities_s = float("-inf")

    def tick(self) -> None:
        """Note how many rows have been inserted by now, if it is time."""
        now_s = self._clock()
        inserted = self._core.rows.buffer.inserted
        if self._numbers and inserted < self._numbers[-1]:  # it became a copy of another replica
            self._times.clear()
            self._numbers.clear()
        if now_s - self._noted_s < NOTE_EVERY_S or (self._numbers and inserted == self._numbers[-1]):
            return
        self._noted_s = now_s
        self._times.append(now_s)
        self._numbers.append(inserted)
        if len(self._numbers) > MOST_NOTES:
            del self._times[::2], self._numbers[::2]

    def drawn(self, handles: NDArray[np.int64]) -> None:
        """These rows were drawn."""
        step = -(-len(handles) // DRAWN_ROWS) or 1
        self._draws.append((self._clock(), handles[::step].copy()))

    def updated(self, result: object) -> None:
        """Priorities were set."""
        if isinstance(result, UpdateResult):
            self._applied += result.applied
            self._stale += result.stale

    def report(self) -> ShardReport:
        """Cost: under a millisecond; some milliseconds every few seconds where there are very many rows."""
        core, spec, buffer = self._core, self._spec, self._core.rows.buffer
        view = core.view
        has_copy = view.backup is not None
        return ShardReport(
            buffer=spec.name,
            shard=view.shard,
            role=core.role.value,
            node=core.me.node,
            view=view.number,
            in_sync=has_copy or view.candidate is None,
            solo=spec.replicas > 1 and not has_copy,
            kind=spec.kind,
            rows=len(buffer),
            capacity=buffer.capacity or 0,
            nbytes=len(buffer) * _row_nbytes(buffer),
            inserted=buffer.inserted,
            sampled=core.rows.sampled,
            updated=self._applied,
            stale_updates=self._stale,
            waiting_writers=core.unapplied,
            lag_rows=core.unapplied,
            priorities=self._count_priorities(buffer) if core.role is Role.PRIMARY else Histogram(),
            row_ages=self._row_ages(buffer),
            draw_ages=self._draw_ages(buffer),
        )

    def _count_priorities(self, buffer: ReplayBuffer) -> Histogram:
        now_s = self._clock()
        rows = len(buffer)
        if not self._spec.prioritized or not rows:
            return Histogram()
        if rows > LARGE_ROWS and now_s - self._priorities_s < LARGE_EVERY_S:
            return self._priorities
        self._priorities_s = now_s
        handles = buffer.handles()
        looked = handles[:: -(-rows // LOOKED_PRIORITIES)]
        found = Histogram.of(buffer.priorities_of(looked), PRIORITY_EDGES)
        scale = rows / len(looked)
        self._priorities = Histogram(found.edges, tuple(round(scale * count) for count in found.counts))
        return self._priorities

    def _row_ages(self, buffer: ReplayBuffer) -> Histogram:
        """Rows leave in the order in which they came, so those that are held are the last inserted."""
        self.tick()
        if not len(buffer) or not self._numbers:
            return Histogram()
        ends = np.asarray(self._numbers, np.float64)
        ends[-1] = max(ends[-1], buffer.inserted)
        starts = np.concatenate([[0.0], ends[:-1]])
        oldest = buffer.inserted - len(buffer)
        rows = np.clip(ends, oldest, None) - np.clip(starts, oldest, None)
        ages_s = self._clock() - np.asarray(self._times)
        counts, _ = np.histogram(np.clip(ages_s, 0, AGE_EDGES_S[-1]), bins=AGE_EDGES_S, weights=rows)
        return Histogram(AGE_EDGES_S, tuple(round(float(count)) for count in counts))

    def _draw_ages(self, buffer: ReplayBuffer) -> Histogram:
        if not self._draws or not self._numbers:
            return Histogram()
        capacity = buffer.capacity or 1
        layout = HandleLayout(capacity)
        ages_s = []
        for drawn_s, handles in self._draws:
            local = handles & ((1 << LOCAL_BITS) - 1)
            numbers = ((local >> layout.slot_bits) - 1) * capacity + layout.slots(local) + 1
            places = np.clip(np.searchsorted(self._numbers, numbers), 0, len(self._times) - 1)
            ages_s.append(np.maximum(0.0, drawn_s - np.asarray(self._times)[places]))
        return Histogram.of(np.concatenate(ages_s), AGE_EDGES_S)


def _row_nbytes(buffer: ReplayBuffer) -> int:
    schema = buffer.schema
    return sum(int(np.prod(spec.shape)) * spec.dtype.itemsize for spec in schema) if schema is not None else 0
