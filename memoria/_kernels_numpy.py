"""`Kernels` in whole-array NumPy: no compiler, no start-up time."""

from __future__ import annotations

import numpy as np

from .kernels import FlagArray, FloatArray, IntArray, LongArray

_REPACK_ENTRIES = 1 << 20
"""Entries that repack moves at a time: bounds its scratch memory to some tens of MB."""


def _entries_of(start: LongArray, length: LongArray) -> tuple[LongArray, LongArray]:
    """Pool indices of all entries of the given lists, one list after the other, and whose each is."""
    owner = np.repeat(np.arange(len(start)), length)
    before = np.cumsum(length) - length
    return np.arange(len(owner)) + (start - before)[owner], owner


def strongest(
    start: LongArray,
    length: IntArray,
    targets: IntArray,
    counts: IntArray,
    sources: LongArray,
    free: FlagArray,
    draws: FloatArray,
) -> LongArray:
    best = np.full(len(sources), -1, dtype=np.int64)
    entry, owner = _entries_of(start[sources], length[sources].astype(np.int64))
    allowed = free[targets[entry]] != 0
    entry, owner = entry[allowed], owner[allowed]
    if not len(entry):
        return best
    target, count = targets[entry].astype(np.int64), counts[entry]
    first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    segment = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(owner)]))
    tied = count == np.maximum.reduceat(count, first)[segment]
    asking = owner[first]
    if not len(draws):
        best[asking] = np.minimum.reduceat(np.where(tied, target, np.iinfo(np.int64).max), first)
        return best
    tied_number = np.cumsum(tied)
    tied_before = np.r_[0, tied_number][first]
    wanted = tied_before + (draws[asking] * np.add.reduceat(tied.astype(np.int64), first)).astype(np.int64)
    chosen = tied & (tied_number - 1 == wanted[segment])
    best[owner[chosen]] = target[chosen]
    return best


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
    row_size = np.diff(row_offsets)
    size_of = np.repeat(row_size, row_size)
    place_in_row = np.arange(len(fired)) - np.repeat(row_offsets[:-1], row_size)
    mark[fired] = place_in_row
    old_start, old_length = start[fired], length[fired].astype(np.int64)
    entry, owner = _entries_of(old_start, old_length)
    partner = mark[targets[entry]]
    hit = partner >= 0
    counts[entry[hit]] += 1
    widest = int(row_size.max(initial=0))
    missing = np.arange(widest) < size_of[:, None]
    missing[np.arange(len(fired)), place_in_row] = False
    missing[owner[hit], partner[hit]] = False
    mark[fired] = -1

    added = missing.sum(axis=1)
    needed = old_length + added
    moves = needed > room[fired]
    new_room = np.where(old_length == 0, needed, needed + needed // 2)[moves]
    movers = fired[moves]
    start[movers] = used + np.cumsum(new_room) - new_room
    room[movers] = new_room
    used += int(new_room.sum())
    source, _ = _entries_of(old_start[moves], old_length[moves])
    target, _ = _entries_of(start[movers], old_length[moves])
    targets[target] = targets[source]
    counts[target] = counts[source]

    who, partner_place = np.nonzero(missing)
    tail, _ = _entries_of(start[fired] + old_length, added)
    row_start = np.repeat(row_offsets[:-1], row_size)
    targets[tail] = fired[row_start[who] + partner_place]
    counts[tail] = 1
    length[fired] = needed
    return used


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
    ends = np.cumsum(length[by_start], dtype=np.int64)
    place = 0
    while place < len(by_start):
        done = int(ends[place - 1]) if place else 0
        until = max(place + 1, int(np.searchsorted(ends, done + _REPACK_ENTRIES, side="right")))
        nodes = by_start[place:until]
        entry, owner = _entries_of(start[nodes], length[nodes].astype(np.int64))
        target = new_of_old[targets[entry]]
        stays = target >= 0
        kept = np.bincount(owner[stays], minlength=len(nodes))
        moved = int(kept.sum())
        count = counts[entry[stays]]
        targets[used : used + moved] = target[stays]
        counts[used : used + moved] = count
        start[nodes] = used + np.cumsum(kept) - kept
        length[nodes] = kept
        room[nodes] = kept
        used += moved
        place = until
    return used
