"""Gathering rows of wide columns (images): a plain copy, shared with helper threads where that pays."""

from __future__ import annotations

import _thread
import os
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .crew import MOST_HELPERS, call_helpers
from .handles import Slots
from .pace import Pace

PARALLEL_BYTES = 2 << 20  # below this, waking a thread costs more than it saves
_CHUNK_BYTES = 1 << 20


def gather_wide(column: NDArray[Any], slots: Slots, pace: Pace | None = None) -> NDArray[Any]:
    """``column[slots]`` as a fresh array.

    Copies of several megabytes are cut into chunks that this thread and its helpers take from one list
    (NumPy lets go of the GIL while it copies). On busy cores a helper may start late or never: then this
    thread has done the work meanwhile, and waits at most for a chunk that a helper has begun; and
    ``pace``, if given, learns that helpers do not pay there.
    """
    out = np.empty((slots.size, *column.shape[1:]), column.dtype)
    if out.nbytes < PARALLEL_BYTES or _usable_cores() < 2:
        return column.take(slots, axis=0, out=out, mode="clip")
    if pace is None:
        _copy_with_helpers(column, slots, out)
        return out
    helped = pace.wants_help()
    started = time.perf_counter()
    if helped:
        _copy_with_helpers(column, slots, out)
    else:
        column.take(slots, axis=0, out=out, mode="clip")
    pace.record(helped, out.nbytes, time.perf_counter() - started)
    return out


def _copy_with_helpers(column: NDArray[Any], slots: Slots, out: NDArray[Any]) -> None:
    rows = max(1, _CHUNK_BYTES * slots.size // out.nbytes)
    todo = deque(range(0, slots.size, rows))
    # One lock a helper, held while it copies a chunk.
    free = deque(_thread.allocate_lock() for _ in range(min(_usable_cores() - 1, MOST_HELPERS)))
    locks = tuple(free)

    def copy_next() -> None:
        start = todo.pop()
        column.take(slots[start : start + rows], axis=0, out=out[start : start + rows], mode="clip")

    def help_out() -> None:
        at_work = free.pop()
        try:
            while True:
                with at_work:
                    copy_next()
        except IndexError:  # nothing left to take
            pass

    call_helpers(len(locks), help_out)
    try:
        while True:
            copy_next()
    except IndexError:
        pass
    # The list is empty: whoever still holds a lock copies its last chunk, and nobody begins another.
    for lock in locks:
        with lock:
            pass


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
