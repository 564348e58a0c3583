"""Compaction: takes what counts out of the oldest segments, and removes these."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from ...durable import sync_folder
from ...errors import CorruptData
from .folder import FileName, Folder, disk_errors, key_digest
from .frames import Description, Frame, Kind, NewFrame, unpack_description
from .index import Index, InSegment
from .log import SegmentLog
from .segment import PayloadCheck, Segment

Condition = Callable[[], bool]
OldestFiles = Callable[[], dict[str, int]]

LEAST_DEAD_BYTES = 16 * 1024 * 1024
"""Less than this is not worth the work."""

LEAST_GAIN_BYTES = 64 * 1024
"""Nor is less than this of one segment, on a full disk."""

_COPY_BYTES = 8 * 1024 * 1024


def after_write(
    folder: Folder, log: SegmentLog, index: Index, is_whole: PayloadCheck, *, frees_room: bool
) -> None:
    """Compact where that is due. What was written stays written, whatever becomes of this."""
    if frees_room and log.is_full:
        work = partial(make_room, folder, log, index, is_whole)
    elif worth_compacting(log):
        work = partial(compact, folder, log, index, is_whole, until=lambda: not worth_compacting(log))
    else:
        return
    with suppress(OSError, CorruptData, MemoryError), disk_errors("compacting the cold store"):
        work()


def worth_compacting(log: SegmentLog) -> bool:
    """Whether more than half of the segments' bytes no longer count."""
    return log.dead_bytes > max(LEAST_DEAD_BYTES, log.live_bytes)


def compact(
    folder: Folder, log: SegmentLog, index: Index, is_whole: PayloadCheck, *, until: Condition
) -> None:
    """Take the oldest segments out of use, one by one, until the condition holds.

    A crash in between leaves some frames twice, which recovery does not mind. Marks of deletion go with
    their segment: what they delete was in this segment or an older one, all of which are gone by then,
    or in a file, whose removal is made durable first. Where that file is still there, the mark stays.
    """
    oldest_files = cache(folder.oldest_files)  # many a compaction meets no deletion and need not ask
    last = log.active.number
    if not log.active.nbytes:
        last -= 1
    else:
        log.rotate()
    while log.segments[0].number <= last and not until():
        _take_out(log.segments[0], folder, log, index, is_whole, oldest_files)


def make_room(folder: Folder, log: SegmentLog, index: Index, is_whole: PayloadCheck) -> None:
    """On a full disk: take segments out of use, those first of which most is dead, while that is more than
    half of them; and where deletions may soon find no room, whatever there is. What counts of a segment has
    to fit into what is kept back: else it waits for more deletions."""
    while log.is_full:
        victim = max(log.segments, key=lambda segment: segment.reclaimable_bytes)
        gained_bytes = victim.reclaimable_bytes
        copied_bytes = victim.nbytes - gained_bytes
        least_bytes = LEAST_GAIN_BYTES if log.lacks_reserve else max(LEAST_GAIN_BYTES, copied_bytes)
        if gained_bytes < least_bytes or copied_bytes + LEAST_GAIN_BYTES > folder.spare_bytes:
            return
        if victim is log.active:
            log.rotate()
        _take_out(victim, folder, log, index, is_whole, cache(folder.oldest_files))


def _take_out(
    victim: Segment,
    folder: Folder,
    log: SegmentLog,
    index: Index,
    is_whole: PayloadCheck,
    oldest_files: OldestFiles,
) -> None:
    """Copy what counts of a segment to the end, and remove it."""
    contents = victim.load(is_whole)
    frames = _needed_deletions(contents.frames, index, oldest_files, victim is log.segments[0])
    nbytes = 0
    for frame in contents.frames:
        copied = _live_copy(frame, victim, index)
        if copied is None:
            continue
        frames.append(copied)
        nbytes += frame.end - frame.offset
        if nbytes >= _COPY_BYTES:
            _append(frames, log, index)
            frames, nbytes = [], 0
    _append(frames, log, index)
    sync_folder(folder.values)
    log.drop(victim)


def _needed_deletions(
    frames: list[Frame], index: Index, oldest_files: OldestFiles, is_oldest: bool
) -> list[NewFrame]:
    """Of each key that is gone the newest deletion, where older segments may have a value of it, or a file
    of it is left: one that was set aside as damaged, or that could not be removed. The next start would
    take it for the key's value."""
    newest: dict[str, Frame] = {}
    for frame in frames:
        if frame.kind is Kind.DELETE and (key := frame.description().key) not in index.entries:
            known = newest.get(key)
            if known is None or known.generation < frame.generation:
                newest[key] = frame
    return [
        _without_buffers(frame)
        for key, frame in newest.items()
        if not is_oldest or oldest_files().get(key_digest(key), frame.generation) < frame.generation
    ]


def _without_buffers(frame: Frame) -> NewFrame:
    return NewFrame(frame.kind, frame.generation, frame.target, frame.packed, (), 0)


def _live_copy(frame: Frame, victim: Segment, index: Index) -> NewFrame | None:
    """The frame as it should be written again; None where it no longer counts."""
    description = frame.description()
    entry = index.entries.get(description.key)
    if entry is None or frame.kind is Kind.DELETE:
        return None
    is_newest = entry.frame is not None and (entry.frame.segment, entry.frame.offset) == (
        victim,
        frame.offset,
    )
    if isinstance(entry.content, FileName):
        return _without_buffers(frame) if is_newest else None
    is_content = entry.content.segment is victim and entry.content.offset == frame.payload_offset
    if not is_content:
        # An update of buffers in the same segment goes into the copy of these.
        return _without_buffers(frame) if is_newest and entry.content.segment is not victim else None
    # Buffers and the newest record come together again.
    merged = Description(description.key, entry.record().pack(), *description[2:])
    payload = [victim.read(frame.payload_offset, frame.payload_bytes)]
    return NewFrame(Kind.PUT, entry.generation, frame.target, merged.pack(), payload, frame.payload_bytes)


def _append(frames: list[NewFrame], log: SegmentLog, index: Index) -> None:
    if not frames:
        return
    for frame, place in zip(frames, log.append(frames, sync=True, frees_room=True), strict=True):
        if frame.kind is Kind.DELETE:
            continue
        key, record, lengths, compression, _ = unpack_description(frame.packed)
        entry = index.entries[key]
        if frame.kind is Kind.PUT:
            content = InSegment(place.segment, place.end - frame.payload_bytes, lengths, compression)
            moved = index.new_entry(key, frame.generation, place, content, 0, record)
            moved.damage = entry.damage
        else:
            moved = replace(entry, frame=place)
        # Readers need no lock: they find the old entry or the new one, each whole.
        index.put(key, moved)
