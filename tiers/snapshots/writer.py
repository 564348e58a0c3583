"""Writing snapshots, value by value."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from xxhash import xxh3_64

from ...errors import InvalidValue
from ..blobs import Blob, Buffer
from .layout import SnapshotInfo, Trailer, make_schema

_GROUP_BYTES = 2**20
"""Small buffers are written together in groups of about so many bytes; larger ones go by themselves,
without a copy."""


class ByteSink(Protocol):
    """Where a snapshot goes: a file, or the upload of an object store."""

    def write(self, data: Any, /) -> Any:
        """Take some bytes."""


class SnapshotWriter:
    """Appends blobs to a snapshot. Complete only after `finish`: an unfinished file is not a snapshot.

    Not thread-safe. Keeps at most a group of small buffers in memory.
    """

    def __init__(self, sink: ByteSink, *, description: str = "", created_s: float | None = None) -> None:
        import pyarrow as pa

        if not isinstance(description, str):
            raise InvalidValue(f"description must be a string, not {type(description).__name__}")
        self._created_s = time.time() if created_s is None else created_s
        self._description = description
        self._hashing = _HashingSink(sink)
        self._schema = make_schema(created_s=self._created_s, description=description)
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._hashing, mode="w"), self._schema)
        self._rows: list[tuple[bytes | None, Buffer | None]] = []
        self._group_bytes = 0
        self._keys: set[str] = set()
        self._value_bytes = 0

    def add(self, blob: Blob) -> None:
        """Append a blob, whose record must have the checksums of its buffers. Raises `InvalidValue` for a
        key that is in the snapshot already, and for a record that does not fit its buffers."""
        record = blob.record
        lengths = tuple(buffer.nbytes for buffer in blob.buffers)
        if lengths != record.lengths or len(record.checksums) != len(lengths):
            raise InvalidValue(f"the record of {record.key!r:.80} does not describe its buffers")
        if record.key in self._keys:
            raise InvalidValue(f"{record.key!r:.80} is in the snapshot already")
        self._keys.add(record.key)
        packed = record.pack()
        buffers: Iterable[Buffer | None] = blob.buffers or (None,)
        for number, buffer in enumerate(buffers):
            self._append(packed if number == 0 else None, buffer)
        self._value_bytes += record.nbytes

    def finish(self) -> SnapshotInfo:
        """Write what is left, and the trailer. The sink is neither flushed nor closed."""
        self._flush()
        self._stream.close()
        stream_bytes = self._hashing.count
        trailer = Trailer(len(self._keys), self._value_bytes, stream_bytes, self._hashing.digest())
        self._hashing.write(trailer.pack())
        return SnapshotInfo(
            entries=len(self._keys),
            value_bytes=self._value_bytes,
            file_bytes=self._hashing.count,
            created_s=self._created_s,
            description=self._description,
        )

    def _append(self, record: bytes | None, buffer: Buffer | None) -> None:
        nbytes = 0 if buffer is None else buffer.nbytes
        if nbytes >= _GROUP_BYTES:
            self._flush()
            self._write([(record, buffer)])
            return
        self._rows.append((record, buffer))
        self._group_bytes += nbytes + len(record or b"")
        if self._group_bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._write(self._rows)
            self._rows = []
            self._group_bytes = 0

    def _write(self, rows: list[tuple[bytes | None, Buffer | None]]) -> None:
        import pyarrow as pa

        records = pa.array([record for record, _ in rows], pa.binary())
        batch = pa.record_batch([records, _buffer_column(rows)], schema=self._schema)
        self._stream.write_batch(batch)


def write_snapshot(
    sink: ByteSink,
    blobs: Iterable[Blob],
    *,
    description: str = "",
    created_s: float | None = None,
    advance: Callable[[int], None] | None = None,
) -> SnapshotInfo:
    """Write blobs, as an iterator gives them, to a file-like object; `advance` hears the bytes of each.

    The blobs' buffers are not kept. When it raises, what was written is not a snapshot.
    """
    writer = SnapshotWriter(sink, description=description, created_s=created_s)
    for blob in blobs:
        writer.add(blob)
        if advance is not None:
            advance(blob.record.nbytes)
    return writer.finish()


def _buffer_column(rows: list[tuple[bytes | None, Buffer | None]]) -> Any:
    """The buffers of some rows as one Arrow array; the memory of a single one is not copied."""
    import pyarrow as pa

    if len(rows) == 1:
        buffer = rows[0][1]
        if buffer is None:
            return pa.array([None], pa.large_binary())
        offsets = np.array([0, buffer.nbytes], np.int64)
        return pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(buffer)]
        )
    return pa.array([None if buffer is None else _padded(buffer) for _, buffer in rows], pa.large_binary())


def _padded(buffer: Buffer) -> bytes:
    # Every buffer of a group starts at a multiple of 8 bytes, so that arrays read from it are aligned.
    return bytes(buffer) + bytes(-buffer.nbytes % 8)


class _HashingSink:
    """Passes bytes on, counts them and takes their checksum. Looks like a file to Arrow."""

    closed = False

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._hash = xxh3_64()
        self.count = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        start = 0
        while start < view.nbytes:  # a raw file may take fewer bytes than it is given
            taken = self._sink.write(view[start:] if start else view)
            start += view.nbytes if taken is None else int(taken)
        self.count += view.nbytes
        return view.nbytes

    def digest(self) -> int:
        return int(self._hash.intdigest())

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """The sink is the caller's to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release."""
