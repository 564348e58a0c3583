"""The k smallest of many changing numbers, without sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .handles import Slots

_BLOCK_BITS = 10
_BLOCK = 1 << _BLOCK_BITS


class SmallestFirst:
    """Numbers by slot, with the smallest ones found through the minima of blocks of 1,024 slots.

    The k smallest numbers lie in the k blocks with the smallest minima, so only those are looked at:
    one row of a million costs two short scans. Not thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        blocks = -(-capacity // _BLOCK)
        self._values = np.full((blocks, _BLOCK), np.inf)
        self._flat = self._values.reshape(-1)
        self._minima = np.full(blocks, np.inf)
        self._dirty = np.zeros(blocks, dtype=np.bool_)

    def set(self, slots: Slots, values: NDArray[np.float64]) -> None:
        """Values must be finite; of a slot that is named twice the last one stands."""
        self._flat[slots] = values
        self._dirty[slots >> _BLOCK_BITS] = True

    def remove(self, slots: Slots) -> None:
        self._flat[slots] = np.inf
        self._dirty[slots >> _BLOCK_BITS] = True

    def smallest(self, count: int) -> Slots:
        """Slots of the ``count`` smallest values, smallest first (fewer if there are fewer)."""
        dirty = np.flatnonzero(self._dirty)
        if dirty.size:
            self._minima[dirty] = self._values[dirty].min(axis=1)
            self._dirty[dirty] = False
        if count < self._minima.size:
            blocks = np.argpartition(self._minima, count - 1)[:count]
        else:
            blocks = np.arange(self._minima.size)
        values = self._values[blocks].reshape(-1)
        best = np.arange(values.size)
        if count < values.size:
            best = np.argpartition(values, count - 1)[:count]
        best = best[np.argsort(values[best], kind="stable")]
        best = best[np.isfinite(values[best])]
        slots: Slots = (blocks[best >> _BLOCK_BITS] << _BLOCK_BITS) + (best & (_BLOCK - 1))
        return slots
