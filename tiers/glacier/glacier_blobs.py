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
    CapacityExceeded,
    ConflictingWrite,
    CorruptData,
    InvalidValue,
    KeyNotFound,
    MemoriesError,
    PermissionRefused,
    StorageFull,
)
from ..blobs import Blob, BlobStore
from ..encoded import Selection
from ..locks import KeyLocks
from ..record import Record
from .crew import Crew
from .crypto import KeyRing, new_salt
from .envelope import UNREADABLE, Body, Envelope, body_cipher
from .heads import HEAD_BYTES, Head, Heads
from .layout import BlockReader, Blocks, BlockWriter, Compressor, PlainStream, overhead_bytes
from .listing import Usage, list_objects
from .names import is_cut, key_of, listing_prefix, object_name
from .objects import Listed, ObjectGone, ObjectStore
from .reading import BlockFetcher, Span, TouchedBlocks, aligned, gather_ranges
from .retry import Retry
from .streams import BlobReader, BlobWriter

T = TypeVar("T")

Commit = Callable[[Record], None]

log = logging.getLogger(__name__)

ENVELOPE_BYTES = 512
"""The most that an envelope has around its record and block table."""


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
    """Whether writes to one key by several processes exclude each other. False is for servers that cannot,
    and then only one process may write."""
    read_unencrypted: bool = False
    """Whether objects in the clear are read although there is an encryption key."""


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
        self._bodies = f"{prefix}bodies/"
        self._keys = keys
        self._compressor = compressor or Compressor()
        self._retry = retry or Retry()
        self._options = options or GlacierOptions()
        self._heads = Heads(
            store,
            f"{prefix}keys/",
            self._retry,
            keys,
            conditional_writes=self._options.conditional_writes,
            read_unencrypted=self._options.read_unencrypted,
        )
        self._crew = Crew(self._options.concurrency)
        self._fetcher = BlockFetcher(store, self._retry, self._crew, self._options.part_bytes)
        self._locks = KeyLocks()
        self._usage = Usage()
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
            old = self._heads.find(name, forgiving=True)
            envelope, payload = self._write_body(name, blob)
            self._replace(name, envelope, payload, old)

    def put_many(self, blobs: Sequence[Blob]) -> None:
        last = {blob.record.key: blob for blob in blobs}
        for _ in self._crew.map(self.put, last.values()):
            self._report()

    def update(self, record: Record) -> None:
        name = object_name(record.key)
        with self._locks.hold([record.key]):
            old = self._heads.find_whole(name)
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
            head = self._heads.find(name, forgiving=True)
            if head is None:
                return False
            self._heads.delete(name)
            self._usage.add(keys=-1, nbytes=-head.nbytes)
            self._drop_body(name, head.envelope.body)
            return True

    def remove_many(self, keys: Iterable[str]) -> int:
        removed = 0
        for found in self._crew.map(self.remove, dict.fromkeys(keys)):
            removed += found
            self._report()
        return removed

    def clear(self) -> None:
        for folder in (self._heads.folder, self._bodies):
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
        writer = BlockWriter(stream.blocks, self._compressor, cipher)
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

    def open_writer(
        self, store: Callable[[memoryview], None], commit: Callable[[int, int, Commit], None], key: str
    ) -> BlobWriter:
        """A writer whose content becomes the value of the key.

        Short content is handed to `store` at the end. Long content is uploaded meanwhile; then `commit`
        gets its length, its checksum, and the function that makes it visible with a record.
        """
        name = object_name(key)
        key_id, salt = (None, b"") if self._keys is None else (self._keys.write_id, new_salt())
        body_id = uuid.uuid4().hex
        cipher = body_cipher(self._keys, key_id, salt, name, body_id)

        def upload(blocks: Blocks) -> Callable[[int, int], None]:
            writer = BlockWriter(blocks, self._compressor, cipher)
            self._store.upload(
                self._body_name(name, body_id),
                lambda: writer.parts(self._options.part_bytes),
                workers=self._crew.parts,
                window=self._options.upload_window,
                attempt=self._retry.call,
            )
            body = Body(writer.table(), body_id, key_id, salt)

            def publish(record: Record) -> None:
                with self._locks.hold([key]):
                    old = self._heads.find(name, forgiving=True)
                    self._replace(name, Envelope(record, body, key_id), b"", old)

            def finish(nbytes: int, digest: int) -> None:
                try:
                    commit(nbytes, digest, publish)
                except CapacityExceeded:  # before anything was published
                    self._drop_body(name, body, counted=False)
                    raise

            return finish

        return BlobWriter(upload, store, self._options.part_bytes)

    def open_reader(self, record: Record) -> BlobReader:
        """The first buffer of a value as a file. Raises `ConflictingWrite` if it is replaced meanwhile."""

        def fetch(start: int, end: int) -> memoryview:
            blob = self.get_part(record.key, Selection(b"", (0,), (np.array([[start, end]]),)))
            if blob.record.version != record.version:
                raise ConflictingWrite(f"{record.key!r:.100} was replaced while it was read; read it again")
            return blob.buffers[0]

        return BlobReader(record.lengths[0], fetch, self._options.part_bytes)

    def _replace(self, name: str, envelope: Envelope, payload: bytes, old: Head | None) -> None:
        try:
            self._write_head(name, envelope, payload, old)
        except (ConflictingWrite, PermissionRefused, InvalidValue, StorageFull):
            # Only these say that nothing was written. After the others the body may be needed.
            self._drop_refused_body(name, envelope.body)
            raise
        if old is not None:
            self._drop_body(name, old.envelope.body)

    def _write_head(self, name: str, envelope: Envelope, payload: bytes, old: Head | None) -> None:
        nbytes = self._heads.write(name, envelope, payload, old)
        if old is not None:
            nbytes -= old.nbytes
        if envelope.body.body_id and (old is None or old.body_id != envelope.body.body_id):
            nbytes += envelope.body.table.stored_bytes
        self._usage.add(keys=int(old is None), nbytes=nbytes)

    def _drop_body(self, name: str, body: Body, *, counted: bool = True) -> None:
        """Delete a body that no head refers to. A failure costs space, not truth: `sweep` comes later."""
        if not body.body_id:
            return
        body_name = self._body_name(name, body.body_id)
        try:
            self._retry.call(lambda: self._store.delete(body_name), f"deleting {body_name}")
        except (OSError, ValueError) as error:
            log.warning("%s is not needed any more and could not be deleted: %s", body_name, error)
            return
        if counted:
            self._usage.add(nbytes=-body.table.stored_bytes)

    def _drop_refused_body(self, name: str, body: Body) -> None:
        """Delete the body of a write that was refused, unless it is in use: an attempt whose reply was
        lost may have been written, and changed by somebody else before the attempt that was refused."""
        try:
            now = self._heads.find(name, forgiving=True)
        except MemoriesError as error:
            log.warning("the body of a refused write of %s is left to sweep(): %s", name, error)
            return
        if now is None or (now.envelope is not UNREADABLE and now.body_id != body.body_id):
            self._drop_body(name, body, counted=False)

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
            head = self._heads.find(object_name(key))
            if head is None or (head.envelope.key_id == current and head.envelope.body.key_id == current):
                return False
            self.put(self.get(key))
            return True

    # Reading ---------------------------------------------------------------------------------------

    def get(self, key: str) -> Blob:
        def whole(name: str, head: Head) -> Blob:
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
        def part(name: str, head: Head) -> Blob:
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
        head = self._heads.find(object_name(key))
        return None if head is None else self._checked(key, head).envelope.record

    def stored_bytes(self, key: str) -> int:
        head = self._heads.find(object_name(key), forgiving=True)
        return 0 if head is None else head.nbytes + head.body_bytes

    def most_stored_bytes(self, blob: Blob) -> int:
        """What the blob will occupy at the most, with its record and checksums, if nothing compresses."""
        plain_bytes = PlainStream(blob.record.lengths).nbytes
        return plain_bytes + overhead_bytes(plain_bytes) + len(blob.record.pack()) + ENVELOPE_BYTES

    def keys(self, prefix: str = "") -> Iterator[str]:
        for listed in self._list(self._heads.folder + listing_prefix(prefix)):
            name = listed.name[len(self._heads.folder) :]
            key = key_of(name)
            if key is None and is_cut(name):
                head = self._heads.find(name)
                key = None if head is None else head.envelope.record.key
            if key is not None and key.startswith(prefix):
                yield key

    def records(self) -> Iterator[Record]:
        names = (listed.name[len(self._heads.folder) :] for listed in self._list(self._heads.folder))
        for record in self._crew.map(self._inventory_record, names):
            if record is not None:
                yield record

    def _inventory_record(self, name: str) -> Record | None:
        if key_of(name) is None and not is_cut(name):
            return None
        try:
            head = self._heads.find(name)
        except CorruptData as error:
            log.error("left out of the inventory: %s", error)
            return None
        return None if head is None else head.envelope.record

    def _read(self, key: str, action: Callable[[str, Head], T]) -> T:
        """Do something with the head of a key, again if its body is replaced meanwhile."""
        name = object_name(key)
        missing: bytes | None = None
        while True:
            head = self._heads.find(name, HEAD_BYTES + self._options.inline_bytes)
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

    def _fetch(self, name: str, head: Head, reader: BlockReader, spans: Sequence[Span]) -> None:
        body_id = head.envelope.body.body_id
        if body_id:
            self._fetcher.fetch(self._body_name(name, body_id), reader, spans)
            return
        whole = head if head.is_whole else self._heads.find_whole(name)
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

    def _reader(self, name: str, head: Head) -> BlockReader:
        body = head.envelope.body
        plain_bytes = PlainStream(head.envelope.record.lengths).nbytes
        what = f"{head.envelope.record.key!r:.100} in {self._store.address}"
        cipher = body_cipher(self._keys, body.key_id, body.salt, name, body.body_id)
        return BlockReader(body.table, plain_bytes, cipher, what)

    def _checked(self, key: str, head: Head) -> Head:
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
            head = self._heads.find(name, forgiving=True)
            if head is not None and head.envelope is UNREADABLE:
                continue  # it may be this body that it refers to
            if head is None or head.body_id != body_id:
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
        return list_objects(self._store, self._retry, prefix)

    def _counted(self) -> tuple[int, int]:
        known = self._usage.known()
        if known is None:
            count = nbytes = 0
            for listed in self._list(self._heads.folder):
                count += 1
                nbytes += listed.size
            nbytes += sum(listed.size for listed in self._list(self._bodies))
            known = self._usage.count(count, nbytes)
        return known


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
