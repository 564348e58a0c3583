"""Which rows leave when a full buffer takes new ones."""

from __future__ import annotations

import numpy as np

from .selector import Draw, Selector


class OldestRemover(Selector):
    """First in, first out: a ring. The default, and the only one that costs nothing."""

    takes_oldest = True

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        table = self.rows.slots
        return Draw(table.oldest(count), table.count)
