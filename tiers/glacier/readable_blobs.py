"""`ReadableBlobs`: the reading half of `GlacierBlobs`, which says how the objects are laid out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from ...errors import CorruptData, InvalidValue, KeyNotFound
from ..blobs import Blob, BlobStore
from ..encoded import Selection
from ..locks import KeyLocks
from ..record import Record
from .crew import Crew
from .crypto import KeyRing
from .envelope import body_cipher
from .heads import HEAD_BYTES, Head, Heads
from .layout import BlockReader, Compressor, PlainStream, overhead_bytes
from .listing import Usage, list_objects
from .names import is_cut, key_of, listing_prefix, object_name
from .objects import Listed, ObjectGone, ObjectStore
from .options import GlacierOptions
from .reading import BlockFetcher, Span, TouchedBlocks, aligned, gather_ranges
from .retry import Retry

T = TypeVar("T")

log = logging.getLogger(__name__)

ENVELOPE_BYTES = 512
"""The most that an envelope has around its record and block table."""


class ReadableBlobs(BlobStore):
    """Finds and reads the blobs under one prefix; not to be used by itself."""

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

    def get(self, key: str) -> Blob:
        return self._read(key, self._whole)

    def _whole(self, name: str, head: Head) -> Blob:
        record = head.envelope.record
        stream = PlainStream(record.lengths)
        into = aligned(stream.nbytes).data
        reader = self._reader(name, head)
        self._fetch(name, head, reader, [(0, len(reader.table.lengths), into)])
        return Blob(record, stream.split(into.toreadonly()))

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
