"""Gathering rows of wide columns (images): a plain copy, shared with helper threads where that pays."""

from __future__ import annotations

import _thread
import os
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .handles import Slots
from .pace import Pace

PARALLEL_BYTES = 2 << 20  # below this, starting a thread costs more than it saves
_CHUNK_BYTES = 1 << 20
_MAX_THREADS = 4


def gather_wide(column: NDArray[Any], slots: Slots, pace: Pace | None = None) -> NDArray[Any]:
    """``column[slots]`` as a fresh array.

    Copies of several megabytes are cut into chunks that this thread and short-lived helpers take from one
    list (NumPy lets go of the GIL while it copies). On busy cores a helper may start late or never: then
    this thread has done the work meanwhile, and waits at most for a chunk that a helper has begun; and
    ``pace``, if given, learns that helpers do not pay there. A standing pool would not survive a fork.
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
    helpers = min(_usable_cores(), _MAX_THREADS) - 1
    rows = max(1, _CHUNK_BYTES * slots.size // out.nbytes)
    todo = deque(range(0, slots.size, rows))

    def copy_next() -> None:
        start = todo.pop()
        column.take(slots[start : start + rows], axis=0, out=out[start : start + rows], mode="clip")

    def help_out(at_work: _thread.LockType) -> None:
        try:
            while True:
                with at_work:
                    copy_next()
        except IndexError:  # nothing left to take
            pass

    locks = [_thread.allocate_lock() for _ in range(helpers)]
    for lock in locks:
        try:
            _thread.start_new_thread(help_out, (lock,))
        except RuntimeError:  # no more threads to be had: do it alone
            break
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
