"""Who fired together with whom, and how often: a sparse graph that costs what has fired.

The paper's counts are a dense M x M matrix; nearly all of it is zero. Here every node has a list of the
nodes it fired with. All lists live in one pool of (target, count) entries, each with a little spare
room. Firing appends; removing a node only forgets its own list, and entries that point at it are skipped
until the pool is repacked, which happens when it runs full or when many nodes are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .kernels import FlagArray, FloatArray, IntArray, LongArray, kernels_for

_FIRST_POOL_ENTRIES = 4096
_FIRST_NODES = 256
_GROWTH = 1.5
_GARBAGE_WORTH_REPACKING = 0.2
_WASTED_POOL = 4
_NO_DRAWS: FloatArray = np.zeros(0)


@dataclass(frozen=True)
class Edges:
    """Directed pairs of nodes with how often they fired together (a node with itself is not among them)."""

    sources: LongArray
    targets: LongArray
    counts: IntArray


class CofiringGraph:
    """Nodes are numbered in the order of their creation; numbers are not reused before `renumber`.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._nodes = 0
        self._start: LongArray = np.zeros(_FIRST_NODES, dtype=np.int64)
        self._length: IntArray = np.zeros(_FIRST_NODES, dtype=np.int32)
        self._room: IntArray = np.zeros(_FIRST_NODES, dtype=np.int32)
        self._fires: IntArray = np.zeros(_FIRST_NODES, dtype=np.int32)
        self._alive: FlagArray = np.zeros(_FIRST_NODES, dtype=np.uint8)
        self._mark: IntArray = np.full(_FIRST_NODES, -1, dtype=np.int32)
        self._targets: IntArray = np.empty(_FIRST_POOL_ENTRIES, dtype=np.int32)
        self._counts: IntArray = np.empty(_FIRST_POOL_ENTRIES, dtype=np.int32)
        self._used = 0

    @property
    def node_count(self) -> int:
        """Nodes ever added since the last `renumber`, dropped ones included."""
        return self._nodes

    def add_nodes(self, number: int) -> int:
        """Adds nodes that have fired with nobody; returns the first one's number."""
        first, needed = self._nodes, self._nodes + number
        if needed > len(self._start):
            capacity = max(needed, int(len(self._start) * _GROWTH))
            self._start = _extended(self._start, capacity)
            self._length = _extended(self._length, capacity)
            self._room = _extended(self._room, capacity)
            self._fires = _extended(self._fires, capacity)
            self._alive = _extended(self._alive, capacity)
            self._mark = np.full(capacity, -1, dtype=np.int32)
        self._alive[first:needed] = 1
        self._nodes = needed
        return first

    def fire_counts(self, nodes: LongArray) -> IntArray:
        """How often each node fired."""
        return self._fires[nodes]

    def set_fire_counts(self, nodes: LongArray, counts: IntArray) -> None:
        self._fires[nodes] = counts

    def wire(self, fired: LongArray, row_offsets: LongArray) -> None:
        """The nodes of each row (``fired[row_offsets[r]:row_offsets[r + 1]]``, distinct) fire together.

        Every node's fire count and the count of every ordered pair within a row grow by 1.
        """
        if not len(fired):
            return
        row_size = np.diff(row_offsets)
        length = self._length[fired].astype(np.int64)
        needed = length + np.repeat(row_size, row_size) - 1
        moved = np.where(length == 0, needed, needed + needed // 2)
        self._make_room(int(moved[needed > self._room[fired]].sum()), if_repacked=int(moved.sum()))
        kernels = kernels_for(self._used)
        self._used = int(
            kernels.wire(
                self._start,
                self._length,
                self._room,
                self._targets,
                self._counts,
                self._mark,
                fired,
                row_offsets,
                self._used,
            )
        )
        self._fires[fired] += 1

    def strongest(self, sources: LongArray, free: FlagArray, draws: FloatArray | None = None) -> LongArray:
        """For each source the free node it fired with most often; -1 if it fired with none of them.

        Ties: the lowest node, or, with `draws` (one number of [0, 1) a source), the one it points at.
        """
        return kernels_for(self._used).strongest(
            self._start,
            self._length,
            self._targets,
            self._counts,
            sources,
            free,
            _NO_DRAWS if draws is None else draws,
        )

    def drop(self, nodes: LongArray) -> None:
        """Forgets these nodes. Lists of others may still name them until the next repack."""
        self._length[nodes] = 0
        self._room[nodes] = 0
        self._fires[nodes] = 0
        self._alive[nodes] = 0

    def renumber(self, new_of_old: LongArray, number: int) -> None:
        """Gives nodes new, denser numbers (-1: gone); keeps their order, and the order within lists."""
        self._repack(new_of_old)
        if self._used * _WASTED_POOL < len(self._targets):
            self._resize_pool(max(_FIRST_POOL_ENTRIES, int(self._used * _GROWTH)))
        stays = np.flatnonzero(new_of_old >= 0)
        capacity = max(_FIRST_NODES, int(number * 1.125))
        self._start = _gathered(self._start, stays, capacity)
        self._length = _gathered(self._length, stays, capacity)
        self._room = _gathered(self._room, stays, capacity)
        self._fires = _gathered(self._fires, stays, capacity)
        self._alive = _gathered(self._alive, stays, capacity)
        self._mark = np.full(capacity, -1, dtype=np.int32)
        self._nodes = number

    def edges(self, nodes: LongArray) -> Edges:
        """The entries of these nodes' lists, in list order, but for those that name a dropped node."""
        length = self._length[nodes].astype(np.int64)
        owner = np.repeat(np.arange(len(nodes)), length)
        entry = np.arange(len(owner)) + (self._start[nodes] - (np.cumsum(length) - length))[owner]
        stays = self._alive[self._targets[entry]] != 0
        entry, owner = entry[stays], owner[stays]
        return Edges(nodes[owner], self._targets[entry].astype(np.int64), self._counts[entry])

    def set_edges(self, nodes: LongArray, lengths: LongArray, targets: LongArray, counts: IntArray) -> None:
        """Replaces these nodes' lists; `lengths` says how many of the entries belong to each."""
        self._length[nodes] = 0
        self._room[nodes] = 0
        total = len(targets)
        self._make_room(total, if_repacked=total)
        self._start[nodes] = self._used + np.cumsum(lengths) - lengths
        self._length[nodes] = lengths
        self._room[nodes] = lengths
        self._targets[self._used : self._used + total] = targets
        self._counts[self._used : self._used + total] = counts
        self._used += total

    def _make_room(self, entries: int, if_repacked: int) -> None:
        """Spare room of at least `entries` at the end of the pool; of `if_repacked` after a repack.

        A repack takes the spare room of the lists themselves away, so that more of them have to move.
        """
        needed = self._used + entries
        if needed <= len(self._targets):
            return
        garbage = self._used - int(self._length[: self._nodes].sum(dtype=np.int64))
        if garbage > self._used * _GARBAGE_WORTH_REPACKING:
            alive = self._alive[: self._nodes] != 0
            self._repack(np.where(alive, np.arange(self._nodes), -1))
            needed = self._used + if_repacked
            if needed <= len(self._targets):
                return
        self._resize_pool(max(needed, int(len(self._targets) * _GROWTH)))

    def _resize_pool(self, capacity: int) -> None:
        for name in ("_targets", "_counts"):  # one after the other, so that only one is held twice
            resized = np.empty(capacity, dtype=np.int32)
            resized[: self._used] = getattr(self, name)[: self._used]
            setattr(self, name, resized)

    def _repack(self, new_of_old: LongArray) -> None:
        n = self._nodes
        self._used = int(
            kernels_for(self._used).repack(
                self._start[:n],
                self._length[:n],
                self._room[:n],
                self._targets,
                self._counts,
                new_of_old,
                np.argsort(self._start[:n], kind="stable"),
            )
        )


_Scalar = TypeVar("_Scalar", bound=np.generic)


def _extended(array: npt.NDArray[_Scalar], capacity: int) -> npt.NDArray[_Scalar]:
    larger = np.zeros(capacity, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def _gathered(array: npt.NDArray[_Scalar], places: LongArray, capacity: int) -> npt.NDArray[_Scalar]:
    gathered = np.zeros(capacity, dtype=array.dtype)
    gathered[: len(places)] = array[places]
    return gathered
