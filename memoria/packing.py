"""Rows of different length side by side: packed to the right, -1 on the left."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .kernels import LongArray

BoolArray: TypeAlias = npt.NDArray[np.bool_]


def left_packed(mask: BoolArray) -> LongArray:
    """Columns where `mask` [B, M] is true, [B, K] for the longest row's K; shorter rows start with -1."""
    lengths = mask.sum(axis=1)
    width = int(lengths.max(initial=0))
    packed = np.full((len(mask), width), -1, dtype=np.int64)
    packed[np.arange(width) >= (width - lengths)[:, None]] = np.nonzero(mask)[1]
    return packed


def taken(values: LongArray, places: LongArray, none: int) -> LongArray:
    """``values[b, places[b, k]]``, and `none` where the place is -1."""
    if not values.shape[1]:
        return np.full(places.shape, none, dtype=values.dtype)
    chosen = np.take_along_axis(values, np.maximum(places, 0), axis=1)
    return np.where(places >= 0, chosen, none)
