"""A binary tree over non-negative weights: draw a leaf by weight, know the sum and the smallest one.

Node 1 is the root, the children of node i are 2i and 2i + 1, leaf k is node ``size + k``. An inner node
is computed from its two children whenever one of them changed, never adjusted by a difference: so
rounding errors do not pile up, and the sum after ten million updates is that of a tree built afresh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled
from .handles import Slots

Floats = NDArray[np.float64]
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


class SumTree:
    """Float64 sums and minima of ``capacity`` weights; a weight of 0 is "not there" and never drawn.

    Not thread-safe. The compiled and the NumPy form give bit-identical results.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 1 << max(1, (capacity - 1).bit_length())
        self._sums: Floats = np.zeros(2 * self.size)
        self._minima: Floats = np.full(2 * self.size, np.inf)

    @property
    def total(self) -> float:
        return float(self._sums[1])

    @property
    def minimum(self) -> float:
        """The smallest positive weight; infinity where there is none."""
        return float(self._minima[1])

    def get(self, slots: Slots) -> Floats:
        return self._sums.take(slots + self.size)

    def leaves(self) -> Floats:
        """All weights, as a view."""
        return self._sums[self.size : self.size + self.capacity]

    def set(self, slots: Slots, weights: Floats) -> None:
        """Set leaves; where a slot is named twice the last weight stands. Weights are finite and >= 0."""
        if slots.size == 0:
            return
        kernels = compiled.load()
        if kernels is not None:
            kernels.tree_set(
                self._sums,
                self._minima,
                self.size,
                compiled.plain(slots, _INT64),
                compiled.plain(weights, _FLOAT64),
            )
            return
        nodes = slots + self.size
        self._sums[nodes] = weights
        weights = self._sums[nodes]
        self._minima[nodes] = np.where(weights > 0, weights, np.inf)
        nodes = nodes >> 1
        while nodes[0] >= 1:  # all leaves are on one level, so all nodes reach the root together
            left, right = 2 * nodes, 2 * nodes + 1
            self._sums[nodes] = self._sums[left] + self._sums[right]
            self._minima[nodes] = np.minimum(self._minima[left], self._minima[right])
            nodes >>= 1

    def rebuild(self, weights: Floats) -> None:
        """Replace all leaves at once."""
        sums, minima, size = self._sums, self._minima, self.size
        sums[size : size + self.capacity] = weights
        minima[size : size + self.capacity] = np.where(weights > 0, weights, np.inf)
        while size > 1:
            half = size >> 1
            sums[half:size] = sums[size : 2 * size : 2] + sums[size + 1 : 2 * size : 2]
            np.minimum(minima[size : 2 * size : 2], minima[size + 1 : 2 * size : 2], out=minima[half:size])
            size = half

    def find(self, targets: Floats) -> tuple[Slots, Floats]:
        """For each target in ``[0, total)`` the leaf whose stretch of the running sum holds it.

        Returns the leaves and their weights. Never gives a leaf of weight 0, whatever rounding does. The
        total must be positive.
        """
        kernels = compiled.load()
        if kernels is not None:
            slots = np.empty(targets.size, dtype=np.int64)
            weights = np.empty(targets.size)
            kernels.tree_find(self._sums, self.size, targets, slots, weights)
            return slots, weights
        rest = targets.copy()
        nodes: Any = np.ones(targets.size, dtype=np.int64)
        for _ in range(self.size.bit_length() - 1):
            nodes <<= 1
            left = self._sums.take(nodes)
            # An empty right half is never entered: rounding can leave a target just beyond the left sum.
            right = (rest >= left) & (self._sums.take(nodes + 1) > 0)
            rest -= np.where(right, left, 0.0)
            nodes += right
        return nodes - self.size, self._sums.take(nodes)
