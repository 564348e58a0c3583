"""Samplers that take rows in an order instead of at random: queues, stacks and priority queues."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..errors import NothingToSample
from .extremes import SmallestFirst
from .handles import Slots
from .selector import Draw, Rows, Selector


class OrderedSampler(Selector):
    """The first ``count`` rows of an order, without repeats; they come again until they are removed.

    Combine with ``max_times_sampled=1`` to hand out every row once.
    """

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        stored = self.rows.slots.count
        if count > stored:
            raise NothingToSample(
                f"{type(self).__name__} gives every row once a batch: {count} rows were asked for, "
                f"{stored} are stored."
            )
        # Chosen, not drawn: no other rows could have come, so the probability of each is 1.
        return Draw(self.first(count), 1)

    @abstractmethod
    def first(self, count: int) -> Slots:
        """The first ``count`` slots of the order."""


class FifoSampler(OrderedSampler):
    """Oldest rows first.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=FifoSampler())
        >>> _ = buffer.add_batch({"x": np.arange(5)})
        >>> buffer.sample(2)["x"].tolist()
        [0, 1]
    """

    def first(self, count: int) -> Slots:
        return self.rows.slots.oldest(count)


class LifoSampler(OrderedSampler):
    """Newest rows first.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=LifoSampler())
        >>> _ = buffer.add_batch({"x": np.arange(5)})
        >>> buffer.sample(2)["x"].tolist()
        [4, 3]
    """

    def first(self, count: int) -> Slots:
        return self.rows.slots.newest(count)


class _PriorityOrder:
    """Rows by priority; ``sign`` -1 turns the order round."""

    def __init__(self, rows: Rows, sign: float) -> None:
        self._rows = rows
        self._sign = sign
        self._order = SmallestFirst(rows.slots.capacity)

    def update(self, slots: Slots) -> None:
        assert self._rows.priorities is not None
        self._order.set(slots, self._sign * self._rows.priorities.take(slots))

    def remove(self, slots: Slots) -> None:
        self._order.remove(slots)

    def first(self, count: int) -> Slots:
        return self._order.smallest(count)

    def rebuild(self) -> None:
        self._order = SmallestFirst(self._rows.slots.capacity)
        self.update(self._rows.slots.live())


class MinHeapSampler(OrderedSampler):
    """Rows of the smallest priority first; equal ones in no particular order.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=MinHeapSampler())
        >>> _ = buffer.add_batch({"x": np.arange(3)}, priorities=np.array([1.0, 5.0, 2.0]))
        >>> buffer.sample(1)["x"].tolist()
        [0]
    """

    uses_priorities = True
    _sign = 1.0

    def bind(self, rows: Rows) -> None:
        super().bind(rows)
        self._order = _PriorityOrder(rows, self._sign)

    def insert(self, slots: Slots) -> None:
        self._order.update(slots)

    def update(self, slots: Slots) -> None:
        self._order.update(slots)

    def remove(self, slots: Slots) -> None:
        self._order.remove(slots)

    def first(self, count: int) -> Slots:
        return self._order.first(count)

    def rebuild(self) -> None:
        self._order.rebuild()

    def bytes_per_row(self) -> int:
        return 9


class MaxHeapSampler(MinHeapSampler):
    """Rows of the largest priority first; equal ones in no particular order.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=MaxHeapSampler())
        >>> _ = buffer.add_batch({"x": np.arange(3)}, priorities=np.array([1.0, 5.0, 2.0]))
        >>> buffer.sample(1)["x"].tolist()
        [1]
    """

    _sign = -1.0
