"""Associative search: from engram to engram along the strongest links, all rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import CofiringGraph
from .kernels import FlagArray, FloatArray, LongArray
from .packing import BoolArray


@dataclass(frozen=True)
class Found:
    """Long-term engrams that a search came to, each once, and the rows that had no more to step to."""

    slots: LongArray
    rows: LongArray
    exhausted: BoolArray


class LongtermSearch:
    """One search of all rows. A slot stands in one row only, so rows cannot meet.

    `slots` are the long-term engrams, ascending, one row after the other; `counts` says how many each
    row has.
    """

    def __init__(self, graph: CofiringGraph, slots: LongArray, counts: LongArray) -> None:
        self._graph = graph
        self._slots = slots
        self._count = counts
        self._first = np.cumsum(counts) - counts
        self._free: FlagArray = np.zeros(graph.node_count, dtype=np.uint8)
        self._free[slots] = 1
        self._found_count = np.zeros(len(counts), dtype=np.int64)

    def run(self, sources: LongArray, rows: LongArray, depth: int, draws: FloatArray | None) -> Found:
        """Starts from the long-term engram that each source fired with most, then steps `depth` times.

        Ties at the start are settled by `draws` (a number of [0, 1) a source; the oldest without), later
        ones in favour of the oldest. An engram that fired with no long-term one is tied with them all.
        """
        starts = self._graph.strongest(sources, self._free, draws)
        alone = np.flatnonzero(starts < 0)
        row = rows[alone]
        place = np.zeros(len(row), dtype=np.int64)
        if draws is not None:
            place = (draws[alone] * self._count[row]).astype(np.int64)
        starts[alone] = self._slots[self._first[row] + place]

        exhausted = np.zeros(len(self._count), dtype=np.bool_)
        frontier, frontier_rows = self._visit(starts, rows)
        slots, slot_rows = [frontier], [frontier_rows]
        for _ in range(depth):
            if not len(frontier):
                break
            can_step = (self._found_count < self._count)[frontier_rows]
            exhausted[frontier_rows[~can_step]] = True
            frontier, frontier_rows = frontier[can_step], frontier_rows[can_step]
            steps = self._graph.strongest(frontier, self._free)
            lost = np.flatnonzero(steps < 0)
            if len(lost):
                steps[lost] = self._oldest_free(frontier_rows[lost])
            frontier, frontier_rows = self._visit(steps, frontier_rows)
            slots.append(frontier)
            slot_rows.append(frontier_rows)
        return Found(np.concatenate(slots), np.concatenate(slot_rows), exhausted)

    def _visit(self, slots: LongArray, rows: LongArray) -> tuple[LongArray, LongArray]:
        """Marks slots as found; returns each once."""
        once, where = np.unique(slots, return_index=True)
        self._free[once] = 0
        self._found_count += np.bincount(rows[where], minlength=len(self._found_count))
        return once, rows[where]

    def _oldest_free(self, rows: LongArray) -> LongArray:
        """The oldest long-term engram not found yet, for rows that have one."""
        asking, which = np.unique(rows, return_inverse=True)
        # Of the first n + 1 engrams of a row, n found ones leave at least one.
        width = int(self._found_count[asking].max()) + 1
        place = self._first[asking, None] + np.arange(width)
        inside = np.arange(width) < self._count[asking, None]
        candidates = self._slots[np.minimum(place, len(self._slots) - 1)]
        free = inside & (self._free[candidates] != 0)
        oldest: LongArray = candidates[np.arange(len(asking)), free.argmax(axis=1)]
        return oldest[which]
