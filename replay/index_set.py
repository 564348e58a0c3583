"""A set of slot numbers with vectorised insert, remove and uniform draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .handles import Slots


def uniform_integers(below: int, count: int, rng: np.random.Generator) -> Slots:
    """``count`` integers in ``range(below)``, uniformly, with replacement.

    Below 2**32 they are scaled from floats, twice as fast as `Generator.integers`; the probabilities of
    two integers then differ by less than one part in two million.
    """
    if below < 1 << 32:
        return (rng.random(count) * below).astype(np.int64)
    return rng.integers(0, below, count)


class IndexSet:
    """A subset of ``range(capacity)``: members lie densely in one array, so a uniform draw is one gather.

    Inserting a member again and removing a stranger change nothing. Not thread-safe.
    """

    __slots__ = ("_members", "_position", "count")

    def __init__(self, capacity: int) -> None:
        self._members = np.empty(capacity, dtype=np.int64)
        self._position = np.full(capacity, -1, dtype=np.int64)
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def contains(self, slots: Slots) -> NDArray[np.bool_]:
        return self._position[slots] >= 0

    def members(self) -> Slots:
        """All members in no particular order; a view that the next change invalidates."""
        return self._members[: self.count]

    def insert(self, slots: Slots) -> None:
        new = slots[self._position[slots] < 0]
        if new.size > 1:
            new = np.unique(new)
        end = self.count + new.size
        self._members[self.count : end] = new
        self._position[new] = np.arange(self.count, end)
        self.count = end

    def remove(self, slots: Slots) -> None:
        gone = slots[self._position[slots] >= 0]
        if gone.size > 1:
            gone = np.unique(gone)
        if gone.size == 0:
            return
        # The members behind the new end fill the gaps that the removed ones leave before it.
        end = self.count - gone.size
        gaps = self._position[gone]
        self._position[gone] = -1
        tail = self._members[end : self.count]
        fillers = tail[self._position[tail] >= 0]
        gaps = gaps[gaps < end]
        self._members[gaps] = fillers
        self._position[fillers] = gaps
        self.count = end

    def clear(self) -> None:
        self._position[self.members()] = -1
        self.count = 0

    def draw(self, count: int, rng: np.random.Generator) -> Slots:
        """``count`` members, uniformly, with replacement. The set must not be empty."""
        return self._members.take(uniform_integers(self.count, count, rng))

    def replace_members(self, slots: Slots) -> None:
        """Become exactly ``slots`` (no repeats), in this order: draws continue as before a checkpoint."""
        self.clear()
        self._members[: slots.size] = slots
        self._position[slots] = np.arange(slots.size)
        self.count = int(slots.size)
