"""Memory layout of dense arrays: in which order the axes lie, and where rows are."""

from __future__ import annotations

from collections.abc import Sequence

Order = list[int]
"""Axes from the outermost to the innermost in memory; empty for C order."""


def axis_order(shape: Sequence[int], strides: Sequence[int]) -> Order:
    """The order of the axes by stride. Whether the memory is dense in that order is for the caller to
    find out. Axes of length 1 stay where they are in C order: their strides mean nothing."""
    axes = list(range(len(shape)))
    long = [axis for axis in axes if shape[axis] != 1]
    by_stride = iter(sorted(long, key=lambda axis: -strides[axis]))
    order = [next(by_stride) if shape[axis] != 1 else axis for axis in axes]
    return [] if order == axes else order


def inverse_order(order: Order, ndim: int) -> Order:
    """The permutation that undoes `order`. Raises ValueError where it is none."""
    if not order:
        return list(range(ndim))
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"{order} is no order of {ndim} axes")
    inverse = [0] * ndim
    for place, axis in enumerate(order):
        inverse[axis] = place
    return inverse
