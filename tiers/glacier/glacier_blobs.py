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
import uuid
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ...errors import (
    CapacityExceeded,
    ConflictingWrite,
    InvalidValue,
    KeyNotFound,
    MemoriesError,
    PermissionRefused,
    StorageFull,
)
from ..blobs import Blob
from ..encoded import Selection
from ..record import Record
from .crypto import new_salt
from .envelope import UNREADABLE, Body, Envelope, body_cipher
from .heads import Head
from .layout import Blocks, BlockWriter, PlainStream
from .names import object_name
from .readable_blobs import ReadableBlobs
from .streams import BlobReader, BlobWriter

Commit = Callable[[Record], None]

log = logging.getLogger(__name__)

_ROTATE_TRIES = 4
"""How often a value is written under the new key while other processes replace it in between."""


class GlacierBlobs(ReadableBlobs):
    """Blobs in one bucket under one prefix. Thread-safe; `close` ends its threads.

    Two processes may use the same prefix: a write that meets another one raises `ConflictingWrite` and
    has changed nothing. `used_bytes` and `len` are counted by listing once, and kept up with what this
    object does; what others do is seen by `recount`.
    """

    durable = True
    keeps_buffers = False

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
        self._update(record, None)

    def update_found(self, found: Record, record: Record) -> None:
        self._update(record, found)

    def _update(self, record: Record, found: Record | None) -> None:
        name = object_name(record.key)
        with self._locks.hold([record.key]):
            old = self._heads.find_whole(name)
            if old is None:
                raise KeyNotFound(f"{record.key!r} is not stored in {self._store.address}")
            if found is not None and found != old.envelope.record:
                raise ConflictingWrite(f"{record.key!r:.100} was replaced since it was read; try again")
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
            self._removed(name, head)
            return True

    def remove_found(self, found: Record) -> bool:
        name = object_name(found.key)
        with self._locks.hold([found.key]):
            head = self._heads.find(name, forgiving=True)
            if head is None or found != head.envelope.record:
                return False
            try:
                self._heads.delete(name, head)
            except ConflictingWrite:
                return False
            self._removed(name, head)
            return True

    def _removed(self, name: str, head: Head) -> None:
        self._usage.add(keys=-1, nbytes=-head.nbytes)
        self._drop_body(name, head.envelope.body)

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

        def read_old(name: str, head: Head) -> tuple[Head, Blob] | None:
            if head.envelope.key_id == current and head.envelope.body.key_id == current:
                return None
            return head, self._whole(name, head)

        name = object_name(key)
        with self._locks.hold([key]):
            for tries_left in reversed(range(_ROTATE_TRIES)):
                try:
                    found = self._read(key, read_old)
                    if found is None:
                        return False
                    head, blob = found
                    envelope, payload = self._write_body(name, blob)
                    self._replace(name, envelope, payload, head)
                    return True
                except KeyNotFound:
                    return False
                except ConflictingWrite:  # what another process put there may be under an older key, too
                    if not tries_left:
                        raise
        raise AssertionError("unreachable: the last try returns or raises")

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
