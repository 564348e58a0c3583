"""`Kernels` as compiled loops. Importing this loads numba; `kernels` does so only for large graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

from .kernels import FlagArray, FloatArray, IntArray, LongArray, grown_room

F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    """Compiles at first call; the machine code is kept on disk where numba finds a place to write."""
    try:
        return numba.njit(function, cache=True, nogil=True)  # type: ignore[no-any-return]
    except RuntimeError:  # "cannot cache function: no locator available"
        return numba.njit(function, nogil=True)  # type: ignore[no-any-return]


_grown_room = _compiled(grown_room)


@_compiled
def strongest(
    start: LongArray,
    length: IntArray,
    targets: IntArray,
    counts: IntArray,
    sources: LongArray,
    free: FlagArray,
    draws: FloatArray,
) -> LongArray:
    result = np.full(len(sources), -1, dtype=np.int64)
    for number in range(len(sources)):
        source = sources[number]
        begin = start[source]
        end = begin + length[source]
        most = 1
        ties = 0
        lowest = np.int64(-1)
        for entry in range(begin, end):
            count = counts[entry]
            if count < most:  # most entries: they cost one load
                continue
            target = np.int64(targets[entry])
            if free[target] == 0:
                continue
            if count > most:
                most = count
                ties = 1
                lowest = target
            else:
                ties += 1
                if lowest < 0 or target < lowest:
                    lowest = target
        if len(draws) and ties > 1:
            wanted = np.int64(draws[number] * ties)
            for entry in range(begin, end):
                if counts[entry] == most and free[targets[entry]] != 0:
                    if wanted == 0:
                        lowest = np.int64(targets[entry])
                        break
                    wanted -= 1
        result[number] = lowest
    return result


@_compiled
def wire(
    start: LongArray,
    length: IntArray,
    room: IntArray,
    targets: IntArray,
    counts: IntArray,
    mark: IntArray,
    fired: LongArray,
    row_offsets: LongArray,
    used: int,
) -> int:
    for row in range(len(row_offsets) - 1):
        first = row_offsets[row]
        size = row_offsets[row + 1] - first
        for place in range(size):
            mark[fired[first + place]] = place
        met = np.zeros(size, dtype=np.uint8)
        for place in range(size):
            node = fired[first + place]
            met[:] = 0
            met[place] = 1
            known = 1
            begin = start[node]
            old_length = length[node]
            for entry in range(begin, begin + old_length):
                partner = mark[targets[entry]]
                if partner >= 0:
                    counts[entry] += 1
                    met[partner] = 1
                    known += 1
            needed = old_length + size - known
            if needed > room[node]:
                new_room = _grown_room(old_length, needed)
                for offset in range(old_length):
                    targets[used + offset] = targets[begin + offset]
                    counts[used + offset] = counts[begin + offset]
                start[node] = used
                room[node] = new_room
                begin = np.int64(used)
                used += new_room
            tail = begin + old_length
            for partner_place in range(size):
                if met[partner_place] == 0:
                    targets[tail] = fired[first + partner_place]
                    counts[tail] = 1
                    tail += 1
            length[node] = needed
        for place in range(size):
            mark[fired[first + place]] = -1
    return used


@_compiled
def repack(
    start: LongArray,
    length: IntArray,
    room: IntArray,
    targets: IntArray,
    counts: IntArray,
    new_of_old: LongArray,
    by_start: LongArray,
) -> int:
    used = 0
    for place in range(len(by_start)):
        node = by_start[place]
        begin = start[node]
        first = used
        for entry in range(begin, begin + length[node]):
            target = new_of_old[targets[entry]]
            if target >= 0:
                targets[used] = target
                counts[used] = counts[entry]
                used += 1
        start[node] = first
        length[node] = used - first
        room[node] = used - first
    return used
