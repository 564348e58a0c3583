"""`ColdBlobs`: the durable blob store on a local disk."""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ...errors import Closed, CorruptData, KeyNotFound
from ..blobs import Blob, BlobStore
from ..checksum import checksum
from ..codec.compression import NONE, check_level, compression
from ..encoded import Selection
from ..record import Record
from . import compaction
from .collection import without_collection
from .commits import Change, GroupCommit
from .containers import container, container_of_suffix
from .folder import TEMPORARY, FileName, Folder, disk_errors, key_digest
from .frames import Description, Kind, NewFrame
from .index import Entry, Index, InSegment
from .log import SEGMENT_BYTES, SegmentLog
from .naming import named
from .payloads import pack_payload, payload_is_whole, read_payload
from .recovery import Recovery
from .segment import Place
from .value_file import ValueFile, read_value, write_value

SMALL_BYTES = 64 * 1024
"""Values up to this size go into segments, larger ones into files of their own."""

_OPEN_FILES = 32
_REMOVED_AT_ONCE = 10_000  # in one write, for which a full disk has room kept back

_PUT, _UPDATE, _DELETE = Kind.PUT, Kind.UPDATE, Kind.DELETE
"""As plain names: to look a member up in an enum takes as long as to pack a header."""


class ColdBlobs(BlobStore):
    """Blobs in a folder that one process uses at a time (`LockHeld`).

    **Durable when a call returns**: everything; `put_many` and `remove_many` make it so with one fsync
    for up to 32 MB of small values. **After a crash** each key has its old blob or its new one.
    **Damage** is found by checksums: reading the blob raises `CorruptData`, which names the file; a
    damaged file is moved to the folder `quarantine`, everything else goes on, and the key stays damaged,
    not older, until it is written again. On a full disk all but deletions are `StorageFull`.

    A blob may come without checksums (``record.checksums`` empty): they are computed while the disk
    works, and are in the record from then on. Buffers of uncompressed Arrow files are read-only views of
    the mapped file; they stay valid after the key was overwritten or the store closed.
    """

    durable = True
    keeps_buffers = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        file_format: str = "arrow",
        compression: str = NONE,
        level: int | None = None,
        index_in_memory: bool = True,
    ) -> None:
        check_level(compression, level)
        self._container = container(file_format)
        self._method, self._level = compression, level
        self._folder = Folder(path)
        self.path = self._folder.path
        try:
            with without_collection(), disk_errors(f"opening the cold store in {self.path}"):
                self._log = SegmentLog(self._folder, payload_is_whole)
                recovery = Recovery(self._folder, self._log, in_memory=index_in_memory)
        except BaseException:
            self._folder.close()
            raise
        self._index: Index = recovery.index
        self.damage: list[str] = recovery.damage
        """What was found to be damaged, for people to read."""
        self._damaged_digests = recovery.damaged_digests
        self._generations = itertools.count(recovery.generation + 1)
        self._temporaries = itertools.count()
        self._commits = GroupCommit(self._write)
        self._open: OrderedDict[FileName, ValueFile] = OrderedDict()
        self._opening = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    # Writing -----------------------------------------------------------------------------------------

    def put(self, blob: Blob) -> None:
        self.put_many([blob])

    def put_many(self, blobs: Sequence[Blob]) -> None:
        self.put_compressed(blobs, self._method, self._level)

    def put_compressed(self, blobs: Sequence[Blob], method: str, level: int | None) -> None:
        """`put_many` with another compression than the store's own."""
        self._check_usable()
        changes: list[Change] = []
        pending_bytes = 0
        try:
            for blob in blobs:
                change = self._prepared(blob, method, level)
                changes.append(change)
                pending_bytes += change.payload_bytes
                if pending_bytes >= SEGMENT_BYTES:
                    self._commit(changes)
                    changes, pending_bytes = [], 0
            self._commit(changes)
        finally:
            for change in changes:
                if change.temporary is not None:
                    change.temporary.unlink(missing_ok=True)

    def _prepared(self, blob: Blob, method: str, level: int | None) -> Change:
        record = blob.record
        if sum([buffer.nbytes for buffer in blob.buffers]) <= SMALL_BYTES:
            if len(record.checksums) != len(blob.buffers):
                record = record.replace(checksums=tuple(map(checksum, blob.buffers)))
            stored = pack_payload(blob.buffers, method, level)
            described = Description(record.key, record.pack(), stored.lengths, stored.compression)
            mark = record.is_mark
            return Change(_PUT, record.key, described, stored.buffers, stored.nbytes, frees_room=mark)
        temporary = self._folder.values / f"{next(self._temporaries):x}{TEMPORARY}"
        try:
            with disk_errors(f"storing {record.key!r:.80}"):
                record = write_value(self._container, temporary, blob, compression(method), level)
                size = temporary.stat().st_size
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        described = Description(record.key, record.pack(), suffix=self._container.suffix)
        return Change(Kind.FILE, record.key, described, temporary=temporary, file_bytes=size)

    def update(self, record: Record) -> None:
        self._check_usable()
        change = Change(Kind.UPDATE, record.key, Description(record.key, record.pack()))
        self._commit([change])
        if not change.applied:
            raise KeyNotFound(f"{record.key!r} is not in the cold store {self.path}")

    def remove(self, key: str) -> bool:
        return self.remove_many([key]) == 1

    def remove_many(self, keys: Iterable[str]) -> int:
        self._check_usable()
        changes = [Change(_DELETE, key, Description(key), frees_room=True) for key in keys]
        for first in range(0, len(changes), _REMOVED_AT_ONCE):
            self._commit(changes[first : first + _REMOVED_AT_ONCE])
        return sum(change.applied for change in changes)

    def clear(self) -> None:
        self.remove_many(list(self._index.entries))
        with self._commits.lock, disk_errors("clearing the cold store"):
            self._compact(until=lambda: False)

    def compact(self) -> None:
        """Free the bytes of small values that were overwritten or removed; happens by itself once they
        are more than what counts."""
        self._check_usable()
        with self._commits.lock, disk_errors("compacting the cold store"):
            self._compact(until=lambda: not self._log.dead_bytes)

    def _compact(self, until: compaction.Condition) -> None:
        compaction.compact(self._folder, self._log, self._index, payload_is_whole, until=until)

    def _commit(self, changes: Sequence[Change]) -> None:
        if changes:
            self._commits.commit(changes)

    def _write(self, changes: list[Change]) -> None:
        """Make a group of changes durable and visible. Under the write lock."""
        self._check_usable()
        # Of keys that occur in this group already: where their buffers are, None where they are gone.
        staged: dict[str, int | None] = {}
        frames: list[NewFrame] = []
        made: list[Change] = []
        for change in changes:
            if change.applied:  # its group failed after it, and is tried again one by one
                continue
            kind, key = change.kind, change.key
            target = staged[key] if key in staged else self._target(key)
            if target is None and kind is _UPDATE:
                continue
            if target is None and kind is _DELETE and not self._is_damaged(key):
                continue
            generation = next(self._generations)
            packed = change.description.pack()
            frames.append(
                NewFrame(kind, generation, target or 0, packed, change.payload, change.payload_bytes)
            )
            made.append(change)
            if kind is not _UPDATE:
                staged[key] = None if kind is _DELETE else generation
        if not made:
            return
        names = self._file_names(made, frames)
        with disk_errors("writing to the cold store"), named(names, self._folder.values):
            frees_room = all(change.frees_room for change in made)
            placed = self._log.append(frames, sync=len(names) < len(made), frees_room=frees_room)
        self._apply(made, frames, placed)
        compaction.after_write(self._folder, self._log, self._index, payload_is_whole, frees_room=frees_room)

    def _target(self, key: str) -> int | None:
        entry = self._index.entries.get(key)
        return None if entry is None else entry.content_generation

    def _is_damaged(self, key: str) -> bool:
        return bool(self._damaged_digests) and key_digest(key) in self._damaged_digests

    def _file_names(self, made: list[Change], frames: list[NewFrame]) -> list[tuple[Path, Path]]:
        """The files of a group, as they are called now and as they shall be."""
        return [
            (change.temporary, self._folder.values / str(self._file_name(change.key, frame.generation)))
            for change, frame in zip(made, frames, strict=True)
            if change.temporary is not None
        ]

    def _file_name(self, key: str, generation: int) -> FileName:
        return FileName(key_digest(key), generation, self._container.suffix)

    def _apply(self, made: list[Change], frames: list[NewFrame], placed: list[Place]) -> None:
        index = self._index
        for change, frame, place in zip(made, frames, placed, strict=True):
            key, description, generation = change.key, change.description, frame.generation
            change.applied = True
            if self._damaged_digests:
                self._damaged_digests.pop(key_digest(key), None)
            entry: Entry | None = None
            kind = change.kind
            if kind is _PUT:
                offset = place.end - change.payload_bytes
                content = InSegment(
                    place.segment, offset, description.stored_lengths, description.compression
                )
                entry = index.new_entry(key, generation, place, content, 0, description.record)
            elif kind is _UPDATE:
                entry = index.updated(index.entries[key], generation, place, description.record)
            elif kind is Kind.FILE:
                name = self._file_name(key, generation)
                entry = index.new_entry(key, generation, place, name, change.file_bytes, description.record)
                change.temporary = None
            old = index.put(key, entry)
            if old is not None and isinstance(old.content, FileName) and kind is not _UPDATE:
                self._discard(old.content)

    def _discard(self, name: FileName) -> None:
        """Let go of a file that no longer counts; where it cannot be removed, the next start does it."""
        with self._opening:
            opened = self._open.pop(name, None)
        if opened is not None:
            opened.close()
        with suppress(OSError):
            (self._folder.values / str(name)).unlink()

    # Reading -----------------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        return self._read(key, None)

    def get_part(self, key: str, selection: Selection) -> Blob:
        return self._read(key, selection)

    def file_of(self, key: str) -> tuple[Record, Path] | None:
        """The file that holds only this value, for `read_value`; it never changes, but may soon be gone."""
        self._check_usable()
        entry = self._index.entries.get(key)
        if entry is None or entry.damage or not isinstance(entry.content, FileName):
            return None
        return entry.record(), self._folder.values / str(entry.content)

    def _read(self, key: str, selection: Selection | None) -> Blob:
        self._check_usable()
        while True:
            entry = self._entry(key)
            try:
                with disk_errors(f"reading {key!r:.80}"):
                    return self._read_entry(entry, selection)
            except (FileNotFoundError, CorruptData) as error:
                if self._index.entries.get(key) is not entry:
                    continue  # overwritten meanwhile
                raise self._damaged(entry, error) from error

    def _entry(self, key: str) -> Entry:
        entry = self._index.entries.get(key)
        if entry is None:
            if self._damaged_digests and (reason := self._damaged_digests.get(key_digest(key))):
                raise CorruptData(f"{key!r:.80} is damaged: {reason}. Store it again or delete it")
            raise KeyNotFound(f"{key!r} is not in the cold store {self.path}")
        if entry.damage:
            raise CorruptData(f"{key!r:.80} is damaged: {entry.damage}. Store it again or delete it")
        return entry

    def _read_entry(self, entry: Entry, selection: Selection | None) -> Blob:
        record = entry.record()
        content = entry.content
        if isinstance(content, InSegment):
            return read_payload(content, record, selection)
        if selection is not None:
            return Blob(record, self._opened(content).read_part(selection))
        found = read_value(self._folder.values / str(content))
        self._check(found.record, content)
        return Blob(record, found.buffers)

    def _opened(self, name: FileName) -> ValueFile:
        """An open file for partial reads; the last few stay open, since these come in series."""
        with self._opening:
            file = self._open.get(name)
            if file is not None:
                self._open.move_to_end(name)
                return file
        file = ValueFile(container_of_suffix(name.suffix), self._folder.values / str(name), whole=False)
        self._check(file.record, name)
        with self._opening:
            self._open[name] = file
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        return file

    def _check(self, record: Record, name: FileName) -> None:
        if key_digest(record.key) != name.digest:
            raise CorruptData(f"{name} holds another key than its name says: {record.key!r:.80}")

    def _damaged(self, entry: Entry, error: Exception) -> CorruptData:
        where = ""
        with self._commits.lock:
            if self._index.entries.get(entry.key) is entry and not entry.damage:
                if isinstance(entry.content, FileName):
                    with self._opening:
                        self._open.pop(entry.content, None)
                    aside = self._folder.set_aside(entry.content)
                    where = f"; its file is kept as {aside}"
                else:
                    where = f", in {entry.content.segment.path.name} at byte {entry.content.offset}"
                entry.damage = f"{error}{where}"
                self.damage.append(f"{entry.key!r:.80}: {entry.damage}")
        return CorruptData(f"{entry.key!r:.80} is damaged: {error}{where}. Store it again or delete it")

    # What is stored ----------------------------------------------------------------------------------

    def record(self, key: str) -> Record | None:
        self._check_usable()
        entry = self._index.entries.get(key)
        return None if entry is None else entry.record()

    def stored_bytes(self, key: str) -> int:
        entry = self._index.entries.get(key)
        return 0 if entry is None else entry.nbytes

    def keys(self, prefix: str = "") -> Iterator[str]:
        self._check_usable()
        with self._commits.lock:
            names = list(self._index.entries)
        return (key for key in names if key.startswith(prefix))

    def records(self) -> Iterator[Record]:
        self._check_usable()
        with self._commits.lock:
            entries = list(self._index.entries.values())
        return (entry.record() for entry in entries)

    def stored_as(self, key: str) -> str:
        """The compression of a key's buffers. Raises `KeyNotFound`, `CorruptData`."""
        content = self._entry(key).content
        if isinstance(content, InSegment):
            return content.compression
        return self._opened(content).layout.compression

    def __len__(self) -> int:
        return len(self._index.entries)

    @property
    def used_bytes(self) -> int:
        """Bytes of the files and frames that count. Overwritten small values take up to as much again,
        or 48 MB, until they are compacted."""
        return self._index.used_bytes

    def close(self) -> None:
        if self._closed:
            return
        with self._commits.lock, self._opening:
            self._closed = True
            for file in self._open.values():
                file.close()
            self._open.clear()
            self._log.close()
            if os.getpid() == self._process:
                self._folder.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise Closed(f"the cold store in {self.path} is closed")
        if os.getpid() != self._process:
            raise Closed("the cold store belongs to the parent process: open one after forking")
