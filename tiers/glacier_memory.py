"""`GlacierMemory`: the tier in object storage."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import InvalidType, InvalidValue
from .blobs import Blob
from .codec import encode
from .glacier.config import GlacierConfig
from .glacier.streams import BlobWriter
from .items import read_items
from .progress import Progress
from .record import Record
from .tier import Tier
from .validation import check_flag, check_key, check_keys, check_metadata, check_size_gb


class GlacierMemory(Tier):
    """Values in S3, Google Cloud Storage, Azure Blob Storage or a folder: durable, roomy and slow.

    As `Tier`, and: a value is in the bucket, whole, when `store` returns. Writers in several processes
    may share a bucket and prefix; of two that write a key at the same time one gets `ConflictingWrite`.
    Large values are sent and fetched in parts, several at once, and rows are read without the rest.

    A bucket is outside: whoever can write to it could plant a pickle, which runs code when it is read. So
    pickles are refused, on `store` and on `retrieve`, unless ``allow_pickle=True``.

    Failures: `PermissionRefused` for wrong credentials or keys, `BucketNotFound`, `Unavailable` when a
    request failed as often as `max_attempts`, `DeadlineExceeded` after `deadline_s`, `CorruptData` rather
    than a wrong value.

    Examples:
        >>> import tempfile
        >>> from memories.core import GlacierMemory
        >>> with tempfile.TemporaryDirectory() as path, GlacierMemory("local", storage_path=path) as glacier:
        ...     _ = glacier.store("archive/2024", b"bytes")
        ...     glacier.retrieve("archive/2024")
        b'bytes'
    """

    name = "glacier memory"

    def __init__(
        self,
        provider: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        size_gb: float | None = None,
        capacity_bytes: int | None = None,
        on_full: str = "raise",
        allow_pickle: bool = False,
        read_inventory: bool | None = None,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        """`provider` is "local", "s3", "gcs" or "azure"; `config` holds its settings, which may also be
        given as arguments (see docs/guides/object-stores.md).

        `read_inventory` reads every record at the start, one request each, so that what expired while
        nobody looked is known: the default for folders. Without it such entries are listed by `keys`
        until they are touched.
        """
        config = {**(config or {}), **settings} if settings else config
        self.config = GlacierConfig.from_mapping(config, provider)
        if read_inventory is None:
            read_inventory = self.config.provider == "local"
        self.inventory_is_local = check_flag("read_inventory", read_inventory)
        if size_gb is not None:
            if capacity_bytes is not None:
                raise InvalidValue("size_gb and capacity_bytes both set the budget: give one of them")
            capacity_bytes = check_size_gb("size_gb", size_gb)
        self._glacier = self.config.open_blobs()
        try:
            super().__init__(
                self._glacier,
                capacity_bytes=capacity_bytes,
                on_full=on_full,
                allow_pickle=allow_pickle,
                clock=clock,
            )
        except BaseException:
            self._glacier.close()
            raise

    def __repr__(self) -> str:
        where = self.config.bucket or self.config.storage_path
        return (
            f"GlacierMemory(provider={self.config.provider!r}, {str(where)!r}, prefix={self.config.prefix!r})"
        )

    # Batches ---------------------------------------------------------------------------------------

    def batch_store(self, items: Mapping[str, Any] | Iterable[Any]) -> list[Record]:
        """`store_many`, several values at a time, with a progress bar for those who wait."""
        listed = read_items(items)
        with self._reporting("storing", len(listed)):
            return self.store_many(listed)

    def batch_retrieve(self, keys: Iterable[str], *, missing: str = "raise") -> dict[str, Any]:
        """`retrieve_many`, several values at a time, with a progress bar for those who wait."""
        wanted = check_keys(keys)
        with self._reporting("retrieving", len(wanted)):
            return self.retrieve_many(wanted, missing=missing)

    def batch_delete(self, keys: Iterable[str]) -> int:
        """`delete_many`, several keys at a time, with a progress bar for those who wait."""
        wanted = check_keys(keys)
        with self._reporting("deleting", len(wanted)):
            return self.delete_many(wanted)

    # Pieces ----------------------------------------------------------------------------------------

    def open_writer(self, key: str, *, metadata: Mapping[str, Any] | None = None) -> BlobWriter:
        """A file-like object whose content becomes the value of the key when it is closed: an array of
        bytes. For what does not fit into memory, such as a snapshot of another tier
        (``with memory.open_writer("monday") as file: tier.create_snapshot(file)``).

        Compressed, encrypted and checksummed like every value. An error inside the `with` leaves the key
        as it was.
        """
        check_key(key)
        self._check_open()
        checked = check_metadata(metadata)

        def store(content: memoryview) -> None:
            self.store(key, np.frombuffer(content, np.uint8), metadata=checked)

        def commit(nbytes: int, digest: int, publish: Callable[[Record], None]) -> None:
            # The header says only type and shape: memory that is never touched stands for the content.
            header = encode(np.empty(nbytes, np.uint8), allow_pickle=False).header
            now_s = self._clock()
            record = Record(
                key=key,
                header=header,
                lengths=(nbytes,),
                checksums=(digest,),
                version=self._next_version(now_s),
                created_s=now_s,
                metadata=checked,
            )
            with self._room, self._room_for([Blob(record)], {key}) as victims:
                self._before_change({key})
                publish(record)
                self._noted(record)
                self._evict(victims)
            self._counters.add(stores=1, bytes_in=nbytes)

        return self._glacier.open_writer(store, commit, key)

    def open_reader(self, key: str) -> io.BufferedIOBase:
        """The bytes of a value that `open_writer` made, as a file to be read from start to end.

        Raises `ConflictingWrite` while reading, if somebody replaces the value.
        """
        record = self.entry(key)
        if not record.lengths and np.array_equal(self.retrieve(key), np.zeros(0, np.uint8)):
            return io.BytesIO()
        if len(record.lengths) != 1:
            raise InvalidType(
                f"{key!r:.100} has {len(record.lengths)} buffers: it is no file that open_writer made"
            )
        return io.BufferedReader(self._glacier.open_reader(record), 2**20)

    # The bucket ------------------------------------------------------------------------------------

    def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what writes that died left behind: bodies that no key refers to, unfinished uploads.

        Nothing of it is ever visible, but it costs money. Only what is older than `older_than_s` is taken,
        which must be longer than any write lasts. How many were removed.
        """
        self._check_open()
        if not older_than_s >= 0:
            raise InvalidValue(f"older_than_s must be 0 or more seconds, not {older_than_s!r:.60}")
        # Not self._clock: the objects carry the time of the provider.
        return self._glacier.sweep(before_s=time.time() - older_than_s)

    def rotate_encryption(self) -> int:
        """Write again, under the current key, what is encrypted under an older one; how many were."""
        self._check_open()
        return self._glacier.rotate()

    def recount(self) -> int:
        """Count by listing what is stored, whoever stored it; bytes in use."""
        self._check_open()
        self._glacier.recount()
        return self._glacier.used_bytes

    def _incoming_bytes(self, blob: Blob) -> int:
        return self._glacier.most_stored_bytes(blob)

    @contextmanager
    def _reporting(self, title: str, total: int) -> Iterator[None]:
        with Progress(title, total, unit="values") as progress, self._glacier.reporting(progress.advance):
            yield
