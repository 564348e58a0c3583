"""Which rows leave when a full buffer takes new ones."""

from __future__ import annotations

import numpy as np

from .ordered import FifoSampler, LifoSampler, MaxHeapSampler, MinHeapSampler
from .selector import Draw, Selector


class OldestRemover(FifoSampler):
    """First in, first out: a ring. The default, and the only one that costs nothing.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=2, remover=OldestRemover())
        >>> _ = buffer.add_batch({"x": np.arange(3)})
        >>> sorted(set(buffer.sample(20)["x"].tolist()))
        [1, 2]
    """

    takes_oldest = True


class NewestRemover(LifoSampler):
    """The newest stored rows leave: the buffer keeps what it held first.

    A batch makes room for all of its rows before it enters, so one as large as the buffer replaces all.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=2, remover=NewestRemover())
        >>> _ = buffer.add_batch({"x": np.arange(2)})
        >>> _ = buffer.add(x=2)  # takes the place of row 1
        >>> sorted(set(buffer.sample(20)["x"].tolist()))
        [0, 2]
    """


class LowestPriorityRemover(MinHeapSampler):
    """Rows of the smallest priority leave.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=2, remover=LowestPriorityRemover())
        >>> _ = buffer.add_batch({"x": np.arange(2)}, priorities=np.array([9.0, 1.0]))
        >>> _ = buffer.add(x=2)  # the row of priority 1 makes room
        >>> sorted(set(buffer.sample(20)["x"].tolist()))
        [0, 2]
    """


class HighestPriorityRemover(MaxHeapSampler):
    """Rows of the largest priority leave.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=2, remover=HighestPriorityRemover())
        >>> _ = buffer.add_batch({"x": np.arange(2)}, priorities=np.array([9.0, 1.0]))
        >>> _ = buffer.add(x=2)  # the row of priority 9 makes room
        >>> sorted(set(buffer.sample(20)["x"].tolist()))
        [1, 2]
    """


class UniformRemover(Selector):
    """Any stored row leaves, with equal probability; the new ones always come in.

    So the past fades: of rows that are followed by as many others as the buffer holds about a third (1/e) is
    left, and after as many again a third of that. Newer rows are more, and no age is cut off.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=100, remover=UniformRemover(), seed=0)
        >>> _ = buffer.add_batch({"x": np.arange(1_000)})
        >>> len(buffer)
        100
    """

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        table = self.rows.slots
        if count * 8 >= table.count:
            return Draw(rng.permutation(table.live())[:count], table.count)
        # Few of many: drawing again the odd repeat is cheaper than a shuffle of all.
        chosen = np.unique(table.draw(count, rng))
        while chosen.size < count:
            chosen = np.union1d(chosen, table.draw(count - chosen.size, rng))
        return Draw(chosen, table.count)
