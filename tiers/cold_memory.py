"""`ColdMemory`: the tier on local disk."""

from __future__ import annotations

import os
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from shutil import disk_usage, rmtree
from typing import NamedTuple

from ..errors import KeyNotFound
from .blobs import Blob
from .checksum import BLOCK_BYTES, checksum
from .codec import encode
from .codec.compression import NONE, check_level
from .cold import SMALL_BYTES, ColdBlobs, without_collection
from .cold.containers import FILE_FORMATS
from .items import Item
from .machine import clamp_budget
from .record import Record, RecordDraft, Version
from .tier import Tier
from .validation import check_choice, check_flag, check_key, check_size_gb

_FRAME_BYTES = 200
_FILE_BYTES = 8 * 1024
"""At most what a frame and a file take beside the value, its checksums and its record."""


class Compressed(NamedTuple):
    """What `ColdMemory.compress` did."""

    keys: int
    bytes_before: int
    bytes_after: int


class ColdMemory(Tier):
    """Values on local disk, there again after a crash.

    `size_gb` is the budget (a ceiling, clamped to the disk with a warning; nothing is allocated ahead),
    in bytes on the disk, after compression. `storage_path` is a folder that one process uses at a time
    (`LockHeld`); without it the values live in a temporary folder that `close` removes. Values above
    64 kB are files of their own, in the `file_format` "arrow" (uncompressed ones are mapped into memory
    when they are read), "parquet", "hdf5" or "zarr"; smaller ones share segments. `compression` is
    "none", "zstd", "lz4", "snappy", or a name given to `register_compression`, with an optional `level`;
    what is stored already can be read whatever these say. With ``index_in_memory=False`` the entries'
    records are read from the disk when needed: less memory per key, slower metadata.

    **Durable when a call returns**: everything it stored, changed or deleted. Damage on the disk raises
    `CorruptData` for the keys that it hit, and only for these; `damage` tells what was found. A full disk
    raises `StorageFull` and changes nothing. Thread-safe; see `Tier` for the rest of the contract.

    Examples:
        >>> import tempfile
        >>> from memories.core import ColdMemory
        >>> with tempfile.TemporaryDirectory() as path, ColdMemory(size_gb=0.1, storage_path=path) as cold:
        ...     _ = cold.store("history", list(range(1_000)))
        ...     cold.retrieve("history", start=10, end=13)
        [10, 11, 12]
    """

    name = "cold memory"

    def __init__(
        self,
        size_gb: float = 50,
        storage_path: str | os.PathLike[str] | None = None,
        *,
        file_format: str = "arrow",
        compression: str | None = NONE,
        level: int | None = None,
        index_in_memory: bool = True,
        on_full: str = "raise",
        allow_pickle: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.file_format = check_choice("file_format", file_format, FILE_FORMATS)
        self.compression = compression or NONE
        check_level(self.compression, level)
        check_flag("index_in_memory", index_in_memory)
        size_bytes = check_size_gb("size_gb", size_gb)
        self._cleanup: Callable[[], object] | None = None
        folder = storage_path
        if folder is None:
            folder = tempfile.mkdtemp(prefix="memories-cold-")
            self._cleanup = weakref.finalize(self, rmtree, folder, ignore_errors=True)
        self._cold = ColdBlobs(
            folder,
            file_format=file_format,
            compression=self.compression,
            level=level,
            index_in_memory=index_in_memory,
        )
        self.storage_path = self._cold.path
        try:
            with without_collection():
                super().__init__(
                    self._cold,
                    capacity_bytes=clamp_budget(self.name, size_bytes, self._available_bytes()),
                    on_full=on_full,
                    allow_pickle=allow_pickle,
                    clock=clock,
                )
        except BaseException:
            self._cold.close()
            raise

    @property
    def damage(self) -> list[str]:
        """What was found to be damaged since the folder was opened, for people to read."""
        return list(self._cold.damage)

    def compress(
        self,
        key: str | None = None,
        *,
        level: int | None = None,
        compression: str | None = None,
    ) -> Compressed:
        """Compress what is stored, one key or all, with zstd unless the tier or the caller says
        otherwise. Values that are compressed that way already are left alone unless a level is given.

        Each key is its old file or its new one at any moment. Raises `KeyNotFound` and `InvalidValue` for
        a compression or level that does not exist.
        """
        self._check_open()
        method = compression or (self.compression if self.compression != NONE else "zstd")
        check_level(method, level)
        keys = list(self.keys()) if key is None else [check_key(key)]
        done = before = after = 0
        for each in keys:
            with self._room, self._key_locks.hold([each]):
                try:
                    self.entry(each)
                    if level is None and self._cold.stored_as(each) == method:
                        continue
                    old_bytes = self._cold.stored_bytes(each)
                    self._cold.put_compressed([self._cold.get(each)], method, level)
                except KeyNotFound:
                    if key is not None:
                        raise
                    continue
                done += 1
                before += old_bytes
                after += self._cold.stored_bytes(each)
        return Compressed(done, before, after)

    def compact(self) -> None:
        """Free what small values that were overwritten or deleted still take. Happens by itself once
        that is more than what counts."""
        self._check_open()
        self._cold.compact()

    def _store_items(self, items: Sequence[Item]) -> list[Record]:
        self._check_open()
        now_s = self._clock()
        with without_collection():
            checked = [item.checked() for item in items]
            versions = self._next_versions(now_s, len(checked))
            blobs = [
                self._blob(item, version, now_s) for item, version in zip(checked, versions, strict=True)
            ]
            self._commit(blobs)
            return [self._with_checksums(blob.record) for blob in blobs]

    def _blob(self, item: Item, version: Version, now_s: float) -> Blob:
        # Each record is made once: of storing 10,000 small values a second time would be a sixth.
        key, value, metadata, priority, ttl, pin = item
        header, buffers, has_pickle = encode(value, allow_pickle=self._allow_pickle)
        lengths = tuple([buffer.nbytes for buffer in buffers])
        # The checksums of large values are computed while the disk works.
        small = sum(lengths) <= SMALL_BYTES
        record = RecordDraft(
            key,
            header,
            lengths,
            tuple([checksum(buffer) for buffer in buffers]) if small else (),
            has_pickle,
            version,
            now_s,
            metadata or {},
            priority,
            None if ttl is None else now_s + ttl,
            pin,
        )
        return Blob(record.finished(), buffers)

    def _with_checksums(self, record: Record) -> Record:
        if len(record.checksums) == len(record.lengths):
            return record
        stored = self._cold.record(record.key)
        if stored is None or stored.version != record.version:  # replaced meanwhile
            return record
        return stored

    def _available_bytes(self) -> int:
        return disk_usage(self.storage_path).free + self._cold.used_bytes

    def _incoming_bytes(self, blob: Blob) -> int:
        record = blob.record
        # Packing every record to know its size would cost as much as storing it.
        described = 5 * len(record.key) + len(record.header) + 20 * len(record.lengths) + _FRAME_BYTES
        if record.metadata or record.clients:
            described += len(record.pack())
        described *= 2
        nbytes = record.nbytes
        if nbytes <= SMALL_BYTES:
            return nbytes + described
        return nbytes + 8 * (nbytes // BLOCK_BYTES + len(blob.buffers)) + described + _FILE_BYTES

    def close(self) -> None:
        super().close()
        if self._cleanup is not None:
            self._cleanup()
