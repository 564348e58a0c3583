"""Rows that may be drawn only so often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .handles import Slots


def count_draws(slots: Slots, times_drawn: NDArray[np.int32], limit: int) -> tuple[NDArray[np.int64], Slots]:
    """Count a draw of ``slots`` (in order, with repeats) in ``times_drawn``, by slot.

    Returns which draws are within the limit, as increasing positions in ``slots``, and the slots whose
    limit is reached now.
    """
    order = np.argsort(slots, kind="stable")
    sorted_slots = slots[order]
    heads = np.flatnonzero(np.r_[True, sorted_slots[1:] != sorted_slots[:-1]])
    repeats = np.diff(np.r_[heads, sorted_slots.size])
    nth = np.arange(sorted_slots.size) - np.repeat(heads, repeats)  # 0 for a slot's first draw here, 1, ...
    allowed = np.sort(order[times_drawn[sorted_slots] + nth < limit])
    rows = sorted_slots[heads]
    times_drawn[rows] = np.minimum(times_drawn[rows] + repeats, limit)
    return allowed, rows[times_drawn[rows] >= limit]
