"""`MemoryBlobs`: blobs in this process's own memory."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import numpy as np

from ..errors import KeyNotFound
from .blobs import Blob, BlobStore, Buffer
from .encoded import Ranges, Selection
from .record import Record


def owned(buffer: Buffer) -> Buffer:
    """A private read-only copy of a buffer."""
    copy = np.empty(buffer.nbytes, np.uint8)
    copy[:] = np.frombuffer(buffer, np.uint8)
    return copy.data.toreadonly()


def gather(buffer: Buffer, ranges: Ranges) -> Buffer:
    """The bytes of several ranges, joined in order; a view where the ranges are one run."""
    if len(ranges) == 0:
        return memoryview(b"")
    if len(ranges) == 1 or bool((ranges[1:, 0] == ranges[:-1, 1]).all()):
        return buffer[int(ranges[0, 0]) : int(ranges[-1, 1])]
    whole = np.frombuffer(buffer, np.uint8)
    lengths = ranges[:, 1] - ranges[:, 0]
    width = int(lengths[0])
    if width and bool((lengths == width).all()) and bool((ranges[:, 0] % width == 0).all()):
        # Rows of one width: a single vectorised take instead of a copy for each.
        rows = whole[: whole.size // width * width].reshape(-1, width)
        return rows[ranges[:, 0] // width].reshape(-1).data.toreadonly()
    joined = np.empty(int(lengths.sum()), np.uint8)
    position = 0
    for start, stop in ranges.tolist():
        joined[position : position + stop - start] = whole[start:stop]
        position += stop - start
    return joined.data.toreadonly()


class MemoryBlobs(BlobStore):
    """A dict of blobs. What `put` gets is kept as it is; reads are views of it.

    A blob is one immutable object in the dict, so readers need no lock: they see the old one or the new
    one. Bytes are not verified on local reads: nobody else can write to them. A subclass that holds blobs
    in another form overrides `put`, `_opened` and `_held_bytes`.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}
        self._used_bytes = 0
        self._lock = threading.Lock()

    def put(self, blob: Blob) -> None:
        key = blob.record.key
        with self._lock:
            self._count(self._blobs.get(key), blob)
            self._blobs[key] = blob

    def get(self, key: str) -> Blob:
        return self._opened(self._find(key))

    def get_part(self, key: str, selection: Selection) -> Blob:
        blob = self.get(key)
        buffers = [
            gather(blob.buffers[source], ranges)
            for source, ranges in zip(selection.sources, selection.ranges, strict=True)
        ]
        return Blob(blob.record, tuple(buffers))

    def record(self, key: str) -> Record | None:
        blob = self._blobs.get(key)
        return None if blob is None else blob.record

    def stored_bytes(self, key: str) -> int:
        blob = self._blobs.get(key)
        return 0 if blob is None else self._held_bytes(blob)

    def update(self, record: Record) -> None:
        with self._lock:
            old = self._find(record.key)
            new = dataclasses.replace(old, record=record)
            self._count(old, new)
            self._blobs[record.key] = new

    def remove(self, key: str) -> bool:
        with self._lock:
            blob = self._blobs.pop(key, None)
            self._count(blob, None)
            return blob is not None

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in list(self._blobs) if key.startswith(prefix)])

    def records(self) -> Iterator[Record]:
        return (blob.record for blob in list(self._blobs.values()))

    def __len__(self) -> int:
        return len(self._blobs)

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    def clear(self) -> None:
        with self._lock:
            for blob in self._blobs.values():
                self._count(blob, None)
            self._blobs.clear()

    def close(self) -> None:
        self.clear()

    def _find(self, key: str) -> Blob:
        blob = self._blobs.get(key)
        if blob is None:
            raise KeyNotFound(f"{key!r} is not stored here")
        return blob

    def _opened(self, held: Blob) -> Blob:
        """The blob as it was put in."""
        return held

    def _held_bytes(self, held: Blob) -> int:
        """What a blob occupies in the form in which it is held."""
        return len(held.record.header) + sum(buffer.nbytes for buffer in held.buffers)

    def _count(self, old: Blob | None, new: Blob | None) -> None:
        """Keep the books when a held blob is replaced, comes or goes. Called with the lock held."""
        if old is not None:
            self._used_bytes -= self._held_bytes(old)
        if new is not None:
            self._used_bytes += self._held_bytes(new)
