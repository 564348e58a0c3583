"""Which rows leave when a full buffer takes new ones."""

from __future__ import annotations

import numpy as np

from .ordered import FifoSampler, LifoSampler, MaxHeapSampler, MinHeapSampler
from .selector import Draw, Selector


class OldestRemover(FifoSampler):
    """First in, first out: a ring. The default, and the only one that costs nothing."""

    takes_oldest = True


class NewestRemover(LifoSampler):
    """The newest stored rows leave: the buffer keeps what it held first."""


class LowestPriorityRemover(MinHeapSampler):
    """Rows of the smallest priority leave."""


class HighestPriorityRemover(MaxHeapSampler):
    """Rows of the largest priority leave."""


class UniformRemover(Selector):
    """Any row leaves, with equal probability: what stays is a fair sample of the past."""

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        table = self.rows.slots
        if count * 8 >= table.count:
            return Draw(rng.permutation(table.live())[:count], table.count)
        # Few of many: drawing again the odd repeat is cheaper than a shuffle of all.
        chosen = np.unique(table.draw(count, rng))
        while chosen.size < count:
            chosen = np.union1d(chosen, table.draw(count - chosen.size, rng))
        return Draw(chosen, table.count)
