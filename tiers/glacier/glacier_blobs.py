"""`GlacierBlobs`: blobs in an object store, one small head object a key, and a body object for large ones.

The head object (``keys/<name>``) holds the record and says where the bytes are: behind it, or in a body
(``bodies/<name>~<id>``) that is never changed. A write uploads the body under a new id, then replaces the
head by a conditional write, then deletes the old body. So the head is the moment of truth: whatever dies
half-way leaves the old value or the new one, and at most an object or an upload that nobody refers to,
which `sweep` removes.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...errors import (
    ConflictingWrite,
    CorruptData,
    InvalidValue,
    KeyNotFound,
    PermissionRefused,
    Unavailable,
)
from ..blobs import Blob, BlobStore
from ..encoded import Selection
from ..locks import KeyLocks
from ..record import Record
from .crew import Crew
from .crypto import KeyRing, new_salt
from .envelope import UNREADABLE, Body, Envelope, body_cipher, envelope_bytes, read_envelope
from .layout import BlockReader, BlockWriter, Compressor, PlainStream, overhead_bytes
from .names import is_cut, key_of, listing_prefix, object_name
from .objects import Condition, Listed, ObjectGone, ObjectStore
from .reading import BlockFetcher, Span, TouchedBlocks, aligned, gather_ranges
from .retry import Retry

T = TypeVar("T")

log = logging.getLogger(__name__)

ENVELOPE_BYTES = 512
"""The most that an envelope has around its record and block table."""

HEAD_BYTES = 16 * 1024
"""What is read of a head object to learn its record: enough for nearly all in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlacierOptions:
    """How blobs are laid out and requested; the defaults suit S3."""

    inline_bytes: int = 256 * 1024
    """Values up to this size are kept in the head object: one request reads or writes them."""
    multipart_bytes: int = 16 * 1024 * 1024
    """Bodies above this size are uploaded in parts."""
    part_bytes: int = 8 * 1024 * 1024
    """Size of a part, and of a ranged read."""
    concurrency: int = 8
    """Requests at once for one value, and values at once in a batch."""
    upload_window: int = 4
    """Parts of one upload in memory at once."""
    conditional_writes: bool = True
    """Whether writes to one key by several processes exclude each other; False where a server cannot."""
    read_unencrypted: bool = False
    """Whether objects in the clear are read although there is an encryption key."""


@dataclass(frozen=True, slots=True)
class _Head:
    """A head object as it was found: `payload` is what was read of the bytes behind the envelope."""

    envelope: Envelope
    payload: memoryview
    tag: str
    nbytes: int

    @property
    def stored_bytes(self) -> int:
        body = self.envelope.body
        return self.nbytes + (body.table.stored_bytes if body.body_id else 0)


class GlacierBlobs(BlobStore):
    """Blobs in one bucket under one prefix. Thread-safe; `close` ends its threads.

    Two processes may use the same prefix: a write that meets another one raises `ConflictingWrite` and
    has changed nothing. `used_bytes` and `len` are counted by listing once, and kept up with what this
    object does; what others do is seen by `recount`.
    """

    durable = True
    keeps_buffers = False

    def __init__(
        self,
        store: ObjectStore,
        prefix: str = "",
        *,
        keys: KeyRing | None = None,
        compressor: Compressor | None = None,
        retry: Retry | None = None,
        options: GlacierOptions | None = None,
    ) -> None:
        self._store = store
        self._heads = f"{prefix}keys/"
        self._bodies = f"{prefix}bodies/"
        self._keys = keys
        self._compressor = compressor or Compressor()
        self._retry = retry or Retry()
        self._options = options or GlacierOptions()
        self._crew = Crew(self._options.concurrency)
        self._fetcher = BlockFetcher(store, self._retry, self._crew, self._options.part_bytes)
        self._locks = KeyLocks()
        self._usage = _Usage()
        self._reporting = threading.local()

    @contextmanager
    def reporting(self, report: Callable[[], None]) -> Iterator[None]:
        """While this lasts, call `report` for each value that this thread's batches have dealt with."""
        self._reporting.report = report
        try:
            yield
        finally:
            del self._reporting.report

    def _report(self) -> None:
        getattr(self._reporting, "report", _nothing)()

    # Writing ---------------------------------------------------------------------------------------

    def put(self, blob: Blob) -> None:
        name = object_name(blob.record.key)
        with self._locks.hold([blob.record.key]):
            old = self._find(name, HEAD_BYTES, forgiving=True)
            envelope, payload = self._write_body(name, blob)
            self._write_head(name, envelope, payload, old)
            self._drop_body(name, old)

    def put_many(self, blobs: Sequence[Blob]) -> None:
        last = {blob.record.key: blob for blob in blobs}
        for _ in self._crew.map(self.put, last.values()):
            self._report()

    def update(self, record: Record) -> None:
        name = object_name(record.key)
        with self._locks.hold([record.key]):
            old = self._whole(name, self._find(name, HEAD_BYTES))
            if old is None:
                raise KeyNotFound(f"{record.key!r} is not stored in {self._store.address}")
            if record.lengths != old.envelope.record.lengths:
                raise InvalidValue(
                    f"the record of {record.key!r} is not of the value that is stored: lengths "
                    f"{record.lengths} are not {old.envelope.record.lengths}"
                )
            key_id = None if self._keys is None else self._keys.write_id
            envelope = Envelope(record, old.envelope.body, key_id)
            self._write_head(name, envelope, bytes(old.payload), old)

    def remove(self, key: str) -> bool:
        name = object_name(key)
        with self._locks.hold([key]):
            head = self._find(name, HEAD_BYTES, forgiving=True)
            if head is None:
                return False
            self._retry.call(lambda: self._store.delete(self._heads + name), f"deleting {key!r:.100}")
            self._usage.add(keys=-1, nbytes=-head.nbytes)
            self._drop_body(name, head)
            return True

    def remove_many(self, keys: Iterable[str]) -> int:
        removed = 0
        for found in self._crew.map(self.remove, dict.fromkeys(keys)):
            removed += found
            self._report()
        return removed

    def clear(self) -> None:
        for folder in (self._heads, self._bodies):
            batch: list[str] = []
            for listed in self._list(folder):
                batch.append(listed.name)
                if len(batch) == 1000:
                    self._delete_all(batch)
                    batch = []
            self._delete_all(batch)
        self._usage.forget()

    def _delete_all(self, names: Sequence[str]) -> None:
        if names:
            what = f"deleting {len(names)} objects"
            self._retry.call(lambda: self._store.delete_many(names), what)

    def _write_body(self, name: str, blob: Blob) -> tuple[Envelope, bytes]:
        """Upload the body, or give the payload where it is small enough to go behind the envelope."""
        stream = PlainStream(blob.record.lengths, blob.buffers)
        key_id, salt = (None, b"") if self._keys is None else (self._keys.write_id, new_salt())
        body_id = "" if stream.nbytes <= self._options.inline_bytes else uuid.uuid4().hex
        cipher = body_cipher(self._keys, key_id, salt, name, body_id)
        writer = BlockWriter(stream, self._compressor, cipher)
        payload = b""
        if not body_id:
            payload = b"".join(view for part in writer.parts(max(stream.nbytes, 1)) for view in part)
        elif stream.nbytes <= self._options.multipart_bytes:
            whole = [view for part in writer.parts(stream.nbytes) for view in part]
            body_name = self._body_name(name, body_id)
            self._retry.call(lambda: self._store.put(body_name, whole, None), f"writing {body_name}")
        else:
            # At most 10,000 parts to an upload: the part grows with the object.
            part_bytes = max(self._options.part_bytes, -(-stream.nbytes // 9_000))
            self._store.upload(
                self._body_name(name, body_id),
                lambda: writer.parts(part_bytes),
                workers=self._crew.parts,
                window=self._options.upload_window,
                attempt=self._retry.call,
            )
        return Envelope(blob.record, Body(writer.table(), body_id, key_id, salt), key_id), payload

    def _write_head(self, name: str, envelope: Envelope, payload: bytes, old: _Head | None) -> None:
        data = envelope.pack(name, self._keys) + payload
        condition = Condition(None if old is None else old.tag) if self._options.conditional_writes else None
        attempts = 0

        def write() -> None:
            nonlocal attempts
            attempts += 1
            try:
                self._store.put(self._heads + name, [memoryview(data)], condition)
            except ConflictingWrite:
                # An earlier attempt whose reply was lost may have been the one that got in our way.
                if attempts == 1 or not self._holds(name, data):
                    raise

        key = envelope.record.key
        try:
            self._retry.call(write, f"writing the head of {key!r:.100}")
        except (ConnectionError, TimeoutError):
            raise  # it may have been written after all, and then its body is needed
        except BaseException:
            self._drop_body(name, _Head(envelope, memoryview(b""), "", 0), written=False)
            raise
        change = len(data) - (0 if old is None else old.nbytes)
        same_body = old is not None and old.envelope.body.body_id == envelope.body.body_id
        body_bytes = envelope.body.table.stored_bytes if envelope.body.body_id and not same_body else 0
        self._usage.add(keys=int(old is None), nbytes=change + body_bytes)

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            # One byte more than there should be: nothing is left to be asked about the size.
            return bytes(self._store.read(self._heads + name, len(data) + 1).data) == data
        except ObjectGone:
            return False

    def _drop_body(self, name: str, head: _Head | None, *, written: bool = True) -> None:
        """Delete a body that no head refers to any more. A failure costs space, not truth: `sweep`."""
        if head is None or not head.envelope.body.body_id:
            return
        body_name = self._body_name(name, head.envelope.body.body_id)
        try:
            self._retry.call(lambda: self._store.delete(body_name), f"deleting {body_name}")
        except (OSError, ValueError) as error:
            log.warning("%s is not needed any more and could not be deleted: %s", body_name, error)
            return
        if written:
            self._usage.add(nbytes=-head.envelope.body.table.stored_bytes)

    def rotate(self) -> int:
        """Write again, under the key that is current, what is encrypted under another or not at all.

        How many were. Needs the old keys; objects in the clear only where `read_unencrypted` allows them.
        """
        if self._keys is None:
            raise InvalidValue("there is nothing to rotate: no encryption key is configured")
        return sum(self._crew.map(self._rotate_one, self.keys()))

    def _rotate_one(self, key: str) -> bool:
        assert self._keys is not None
        current = self._keys.write_id
        with self._locks.hold([key]):
            head = self._find(object_name(key), HEAD_BYTES)
            if head is None or (head.envelope.key_id == current and head.envelope.body.key_id == current):
                return False
            self.put(self.get(key))
            return True

    # Reading ---------------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        def whole(name: str, head: _Head) -> Blob:
            record = head.envelope.record
            stream = PlainStream(record.lengths)
            into = aligned(stream.nbytes).data
            reader = self._reader(name, head)
            self._fetch(name, head, reader, [(0, len(reader.table.lengths), into)])
            return Blob(record, stream.split(into.toreadonly()))

        return self._read(key, whole)

    def get_many(self, keys: Sequence[str]) -> list[Blob]:
        blobs = []
        for blob in self._crew.map(self.get, keys):
            blobs.append(blob)
            self._report()
        return blobs

    def get_part(self, key: str, selection: Selection) -> Blob:
        def part(name: str, head: _Head) -> Blob:
            record = head.envelope.record
            stream = PlainStream(record.lengths)
            _check_selection(record, selection)
            ranges = [
                np.asarray(rows) + stream.starts[source]
                for source, rows in zip(selection.sources, selection.ranges, strict=True)
            ]
            reader = self._reader(name, head)
            blocks = TouchedBlocks.of(ranges, reader.table.block_bytes, stream.nbytes)
            whole, spans = blocks.allocate(reader)
            self._fetch(name, head, reader, spans)
            whole.flags.writeable = False
            return Blob(record, tuple(gather_ranges(whole, blocks.compact(rows)) for rows in ranges))

        return self._read(key, part)

    def record(self, key: str) -> Record | None:
        head = self._find(object_name(key), HEAD_BYTES)
        return None if head is None else self._checked(key, head).envelope.record

    def stored_bytes(self, key: str) -> int:
        head = self._find(object_name(key), HEAD_BYTES, forgiving=True)
        return 0 if head is None else head.stored_bytes

    def most_stored_bytes(self, blob: Blob) -> int:
        """What the blob will occupy at the most, with its record and checksums, if nothing compresses."""
        plain_bytes = PlainStream(blob.record.lengths).nbytes
        return plain_bytes + overhead_bytes(plain_bytes) + len(blob.record.pack()) + ENVELOPE_BYTES

    def keys(self, prefix: str = "") -> Iterator[str]:
        for listed in self._list(self._heads + listing_prefix(prefix)):
            name = listed.name[len(self._heads) :]
            key = key_of(name)
            if key is None and is_cut(name):
                head = self._find(name, HEAD_BYTES)
                key = None if head is None else head.envelope.record.key
            if key is not None and key.startswith(prefix):
                yield key

    def records(self) -> Iterator[Record]:
        names = (listed.name[len(self._heads) :] for listed in self._list(self._heads))
        for record in self._crew.map(self._inventory_record, names):
            if record is not None:
                yield record

    def _inventory_record(self, name: str) -> Record | None:
        if key_of(name) is None and not is_cut(name):
            return None
        try:
            head = self._find(name, HEAD_BYTES)
        except CorruptData as error:
            log.error("left out of the inventory: %s", error)
            return None
        return None if head is None else head.envelope.record

    def _read(self, key: str, action: Callable[[str, _Head], T]) -> T:
        """Do something with the head of a key, again if its body is replaced meanwhile."""
        name = object_name(key)
        missing: bytes | None = None
        while True:
            head = self._find(name, HEAD_BYTES + self._options.inline_bytes)
            if head is None:
                raise KeyNotFound(f"{key!r:.200} is not stored in {self._store.address}")
            self._checked(key, head)
            if head.envelope.write_id == missing:
                raise CorruptData(
                    f"{key!r:.100}: its bytes are gone from {self._store.address}: the object "
                    f"{self._body_name(name, head.envelope.body.body_id)} does not exist"
                )
            try:
                return action(name, head)
            except ObjectGone:
                missing = head.envelope.write_id

    def _fetch(self, name: str, head: _Head, reader: BlockReader, spans: Sequence[Span]) -> None:
        body_id = head.envelope.body.body_id
        if body_id:
            self._fetcher.fetch(self._body_name(name, body_id), reader, spans)
            return
        whole = self._whole(name, head)
        if whole is None or whole.envelope.write_id != head.envelope.write_id:
            raise ObjectGone(name)  # replaced between two requests
        for first, last, into in spans:
            start, end = reader.stored_span(first, last)
            stored = whole.payload[start:end]
            if stored.nbytes != end - start:
                raise CorruptData(f"{name} in {self._store.address} ends early")
            if reader.is_plain:
                into[:] = stored
                stored = into
            reader.restore(first, last, stored, into)

    def _reader(self, name: str, head: _Head) -> BlockReader:
        body = head.envelope.body
        plain_bytes = PlainStream(head.envelope.record.lengths).nbytes
        what = f"{head.envelope.record.key!r:.100} in {self._store.address}"
        cipher = body_cipher(self._keys, body.key_id, body.salt, name, body.body_id)
        return BlockReader(body.table, plain_bytes, cipher, what)

    def _find(self, name: str, length: int, *, forgiving: bool = False) -> _Head | None:
        """The head object, its first bytes at least up to the end of the envelope.

        `forgiving` is for those who replace or remove it: a damaged head becomes `UNREADABLE`, and one in
        the clear is accepted.
        """
        object_ = self._heads + name
        try:
            fetched = self._retry.call(lambda: self._store.read(object_, length), f"reading {object_}")
            size = _envelope_bytes_or_zero(fetched.data)
            if fetched.data.nbytes < size <= fetched.size:
                fetched = self._retry.call(lambda: self._store.read(object_, size), f"reading {object_}")
        except ObjectGone:
            return None
        allow_clear = forgiving or self._keys is None or self._options.read_unencrypted
        try:
            envelope = read_envelope(fetched.data, name, self._keys, read_unencrypted=allow_clear)
        except CorruptData as error:
            if forgiving:
                return _Head(UNREADABLE, memoryview(b""), fetched.tag, fetched.size)
            raise CorruptData(f"{object_} in {self._store.address}: {error}") from error
        except PermissionRefused as error:
            raise PermissionRefused(f"{object_} in {self._store.address}: {error}") from error
        return _Head(envelope, fetched.data[envelope.nbytes :], fetched.tag, fetched.size)

    def _whole(self, name: str, head: _Head | None) -> _Head | None:
        """The head with its whole payload."""
        if head is None or head.envelope.nbytes + head.payload.nbytes == head.nbytes:
            return head
        return self._find(name, head.nbytes)

    def _checked(self, key: str, head: _Head) -> _Head:
        found = head.envelope.record.key
        if found != key:
            raise CorruptData(f"the object of {key!r:.100} in {self._store.address} holds {found!r:.100}")
        return head

    # The bucket ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._counted()[0]

    @property
    def used_bytes(self) -> int:
        return self._counted()[1]

    def recount(self) -> None:
        """Count again what is stored, by listing it."""
        self._usage.forget()
        self._counted()

    def sweep(self, *, before_s: float) -> int:
        """Remove what interrupted writes left behind before a time (seconds since the Unix epoch).

        That is: bodies that no head refers to, and unfinished uploads. Choose a time so long ago that no
        write begun then can still be running: a day is plenty. How many were removed.
        """
        removed = 0
        pattern = re.compile(r"(.+)~([0-9a-f]{32})")
        for listed in self._list(self._bodies):
            match = pattern.fullmatch(listed.name[len(self._bodies) :])
            if match is None or listed.modified_s >= before_s:
                continue
            name, body_id = match.groups()
            head = self._find(name, HEAD_BYTES, forgiving=True)
            if head is not None and head.envelope is UNREADABLE:
                continue  # it may be this body that it refers to
            if head is None or head.envelope.body.body_id != body_id:
                self._delete_all([listed.name])
                self._usage.add(nbytes=-listed.size)
                removed += 1
        what = "sweeping unfinished uploads"
        return removed + self._retry.call(
            lambda: self._store.abandon_uploads(self._bodies, before_s=before_s), what
        )

    def close(self) -> None:
        self._crew.close()
        self._store.close()

    def _body_name(self, name: str, body_id: str) -> str:
        return f"{self._bodies}{name}~{body_id}"

    def _list(self, prefix: str) -> Iterator[Listed]:
        """A listing that goes on after a failed page."""
        after = ""
        pages: Iterator[Listed] | None = None

        def step() -> Listed | None:
            nonlocal pages
            if pages is None:
                pages = self._store.list(prefix, after)
            try:
                return next(pages, None)
            except Unavailable:
                pages = None
                raise

        what = f"listing {prefix}*"
        while True:
            in_order = self._store.lists_in_order or not after
            listed = self._retry.call(step, what) if in_order else step()
            if listed is None:
                return
            after = listed.name
            yield listed

    def _counted(self) -> tuple[int, int]:
        known = self._usage.known()
        if known is None:
            count = nbytes = 0
            for listed in self._list(self._heads):
                count += 1
                nbytes += listed.size
            nbytes += sum(listed.size for listed in self._list(self._bodies))
            known = self._usage.complete(count, nbytes)
        return known


def _envelope_bytes_or_zero(start: memoryview) -> int:
    try:
        return envelope_bytes(start)
    except CorruptData:
        return 0


def _check_selection(record: Record, selection: Selection) -> None:
    for source, rows in zip(selection.sources, selection.ranges, strict=True):
        if not 0 <= source < len(record.lengths):
            raise InvalidValue(f"the value of {record.key!r:.100} has no buffer {source}")
        if len(rows) and not (rows.min() >= 0 and rows.max() <= record.lengths[source]):
            raise InvalidValue(
                f"a selection of bytes {rows.min()} to {rows.max()} of a buffer of "
                f"{record.lengths[source]} bytes of {record.key!r:.100}"
            )


def _nothing() -> None:
    return None


class _Usage:
    """How much is stored, once somebody has counted. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: tuple[int, int] | None = None

    def known(self) -> tuple[int, int] | None:
        with self._lock:
            return self._count

    def complete(self, keys: int, nbytes: int) -> tuple[int, int]:
        with self._lock:
            self._count = (keys, nbytes)
            return self._count

    def add(self, *, keys: int = 0, nbytes: int = 0) -> None:
        with self._lock:
            if self._count is not None:
                self._count = (max(self._count[0] + keys, 0), max(self._count[1] + nbytes, 0))

    def forget(self) -> None:
        with self._lock:
            self._count = None
