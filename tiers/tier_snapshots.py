"""Snapshots of a tier: a point in time, written while the tier goes on working."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..durable import replacing
from ..errors import CapacityExceeded, KeyNotFound, PickleRefused
from .blobs import Blob
from .capture import Capture
from .memory_blobs import owned
from .progress import Progress
from .record import Record
from .snapshots import SnapshotInfo, SnapshotReader, SnapshotWriter
from .snapshots.writer import ByteSink

if TYPE_CHECKING:
    from .tier import Tier

_GROUP_BYTES = 2**22
"""Restored values go into the tier in groups of about so many bytes."""


def create_snapshot(
    tier: Tier, target: str | os.PathLike[str] | ByteSink, *, description: str, prefix: str
) -> SnapshotInfo:
    """See `Tier.create_snapshot`."""
    if isinstance(target, str | os.PathLike):
        with replacing(Path(target)) as file:
            return _write(tier, file, description, prefix)
    return _write(tier, target, description, prefix)


def restore_snapshot(
    tier: Tier,
    source: str | os.PathLike[str] | IO[bytes],
    *,
    keys: Sequence[str] | None,
    allow_pickle: bool,
) -> list[str]:
    """See `Tier.restore_snapshot`."""
    tier._check_open()
    wanted = None if keys is None else set(keys)
    with SnapshotReader(source, allow_pickle=allow_pickle) as snapshot:
        blobs = snapshot.blobs(wanted)
        now_s = tier._clock()
        coming = {
            record.key: record
            for record in snapshot.records()
            if (wanted is None or record.key in wanted) and not record.expired(now_s)
        }
        _check_acceptable(tier, list(coming.values()))
        if tier._budget.order is not None:
            _check_room(tier, (blob for blob in snapshot.blobs(wanted) if blob.record.key in coming))
        with Progress("Restoring a snapshot", len(coming), unit="values") as progress:
            # Where others have to leave for them, values come one by one: a group might not fit at all.
            group_bytes = _GROUP_BYTES if tier._budget.order is None else 0
            chosen = (blob for blob in blobs if blob.record.key in coming)
            for group in _groups(chosen, group_bytes):
                tier._commit([_renewed(tier, blob, now_s) for blob in group])
                progress.advance(len(group))
        return list(coming)


def _write(tier: Tier, sink: ByteSink, description: str, prefix: str) -> SnapshotInfo:
    tier._check_open()
    now_s = tier._clock()
    writer = SnapshotWriter(sink, description=description, created_s=now_s)

    def read(key: str) -> Blob:
        blob = tier._blobs.get(key)
        if blob.record.expired(now_s):
            raise KeyNotFound(f"{key!r} had expired")
        return blob

    def write(blob: Blob) -> None:
        writer.add(blob)
        progress.advance()

    capture = Capture(read, write)
    with tier._key_locks.hold_all():
        # No write is under way: this is the moment whose values are written.
        progress = Progress("Writing a snapshot", capture.begin(tier.keys(prefix)), unit="values")
        tier._captures.append(capture)
    try:
        with progress:
            capture.copy_all()
    finally:
        tier._captures.remove(capture)
    return writer.finish()


def _check_acceptable(tier: Tier, records: Sequence[Record]) -> None:
    """Raise, before anything changes, for what the tier could not take."""
    pickled = [record.key for record in records if record.has_pickle]
    if pickled and not tier._allow_pickle:
        raise PickleRefused(
            f"{pickled[0]!r:.80} holds a pickle and {tier.name} was opened with allow_pickle=False"
        )
    capacity_bytes = tier.capacity_bytes
    if capacity_bytes is None:
        return
    incoming_bytes = sum(record.nbytes for record in records)
    if tier._budget.order is not None:
        largest = max((record.nbytes for record in records), default=0)
        if largest > capacity_bytes:
            raise CapacityExceeded(f"a value of {largest:,} bytes is more than {tier.name} may hold at all")
        return
    tier.expire()
    released_bytes = sum(tier._blobs.stored_bytes(record.key) for record in records)
    free_bytes = capacity_bytes - tier.used_bytes + released_bytes
    if incoming_bytes > free_bytes:
        raise CapacityExceeded(
            f"the snapshot's {incoming_bytes:,} bytes do not fit {tier.name}: {free_bytes:,} of "
            f"{capacity_bytes:,} bytes are free for it; choose keys, or raise the size"
        )


def _check_room(tier: Tier, blobs: Iterator[Blob]) -> None:
    """Raise `CapacityExceeded` where one of the values would find no room, if they came one by one.

    The values are read a second time for this: only they tell what they will occupy.
    """
    tier.expire()
    restoring = tier._restoring_budget()
    if restoring is None:
        return
    budget, used_bytes = restoring[0].copy(), restoring[1]
    changed_bytes: dict[str, int] = {}

    def nbytes_of(key: str) -> int:
        known = changed_bytes.get(key)
        return tier._blobs.stored_bytes(key) if known is None else known

    for blob in blobs:
        record = blob.record
        incoming_bytes, released_bytes = tier._incoming_bytes(blob), nbytes_of(record.key)
        victims = budget.victims(
            used_bytes=used_bytes,
            incoming_bytes=incoming_bytes,
            released_bytes=released_bytes,
            priority=record.priority,
            nbytes_of=nbytes_of,
            exclude={record.key},
        )
        used_bytes += incoming_bytes - released_bytes - sum(map(nbytes_of, victims))
        changed_bytes.update(dict.fromkeys(victims, 0))
        changed_bytes[record.key] = incoming_bytes
        if budget.order is not None:
            for victim in victims:
                budget.order.discard(victim)
            if record.pinned or record.is_mark:
                budget.order.discard(record.key)
            else:
                budget.order.add(record.key, record.priority)


def _renewed(tier: Tier, blob: Blob, now_s: float) -> Blob:
    """The blob as a new write to the tier, in memory of its own where the tier would keep it."""
    buffers = blob.buffers
    if tier._blobs.keeps_buffers:
        buffers = tuple(owned(buffer) for buffer in buffers)
    return Blob(blob.record.replace(version=tier._next_version(now_s)), buffers)


def _groups(blobs: Iterator[Blob], group_bytes: int) -> Iterator[list[Blob]]:
    group: list[Blob] = []
    nbytes = 0
    for blob in blobs:
        group.append(blob)
        nbytes += blob.record.nbytes
        if nbytes >= group_bytes or len(group) >= 4096:
            yield group
            group, nbytes = [], 0
    if group:
        yield group
