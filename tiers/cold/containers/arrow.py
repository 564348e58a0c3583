"""Arrow IPC files: uncompressed buffers are views of the mapped file.

Any Arrow implementation can read the file: a column per buffer, one for the block tables and one for
the description, in two batches of one row.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ....errors import CorruptData
from ...checksum import BLOCK_BYTES
from .container import Closing, Container, OpenContainer, check_extent, damage

_ALIGNED_FROM_BYTES = 1 << 20
_WRITE_BYTES = 8 * 1024 * 1024
_START_WRITEBACK = 2  # SYNC_FILE_RANGE_WRITE


class ArrowContainer(Container):
    suffix = "arrow"
    mapped = True

    def write(self, path: Path, streams: Sequence[memoryview], closing: Callable[[], Closing]) -> None:
        names = [*(f"buffer {number}" for number in range(len(streams))), "checksums", "description"]
        schema = pa.schema([pa.field(name, pa.large_binary(), nullable=False) for name in names])
        nothing = memoryview(b"")
        large = bool(streams) and streams[0].nbytes >= _ALIGNED_FROM_BYTES
        with _WriteBehind(path) as sink, pa.ipc.new_file(sink, schema) as writer:
            filler = _filler(schema) if large else None
            writer.write_batch(_batch(schema, [*streams, nothing, nothing]), custom_metadata=filler)
            end = closing()
            writer.write_batch(_batch(schema, [*(nothing for _ in streams), end.tables, end.description]))

    def open(self, path: Path, *, whole: bool) -> OpenContainer:
        return _ArrowFile(path, whole=whole)


def _batch(schema: pa.Schema, streams: Sequence[memoryview]) -> pa.RecordBatch:
    columns = []
    for stream in streams:
        offsets = pa.py_buffer(b"".join(n.to_bytes(8, "little") for n in (0, stream.nbytes)))
        columns.append(pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(stream)], 0))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@lru_cache(64)
def _filler(schema: pa.Schema) -> dict[str, str]:
    """Metadata of a first batch after which its first buffer begins at a multiple of the blocks that are
    verified: each of them lies in one page then, not in parts of two."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(_batch(schema, [memoryview(b" ")] * len(schema)), custom_metadata={"filler": ""})
    written = sink.getvalue()
    first = pa.ipc.open_file(pa.BufferReader(written)).get_batch(0).column(0).buffers()[2]
    return {"filler": " " * (-(first.address - written.address) % BLOCK_BYTES)}


class _WriteBehind:
    """A file that has the kernel write to the disk what was handed over so far, so that `fsync` finds
    most of the work done: copying, checksums and the disk run at the same time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._at = self._handed_over = 0
        self.closed = False

    def __enter__(self) -> _WriteBehind:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                os.fsync(self._file)
        finally:
            self.closed = True
            os.close(self._file)

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        at = 0
        while at < view.nbytes:
            # Up to a boundary: pages that two writes share would be copied, and waited for, twice.
            size = _WRITE_BYTES - self._at % _WRITE_BYTES
            written = os.write(self._file, view[at : at + size])
            at += written
            self._at += written
            whole = self._at // mmap.PAGESIZE * mmap.PAGESIZE
            if whole - self._handed_over >= _WRITE_BYTES // 2:
                _start_writeback(self._file, self._handed_over, whole - self._handed_over)
                self._handed_over = whole
        return view.nbytes

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is held back."""


def _start_writeback(file: int, offset: int, nbytes: int) -> None:
    if _sync_file_range is not None:
        _sync_file_range(file, offset, nbytes, _START_WRITEBACK)


def _find_sync_file_range() -> Any:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):  # only Linux has it, and only speed depends on it
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


_sync_file_range = _find_sync_file_range()


class _ArrowFile(OpenContainer):
    def __init__(self, path: Path, *, whole: bool) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._nbytes = os.fstat(self._file).st_size
            self._map = _mapped(self._file, self._nbytes, whole)
            self._streams, self._tables, self._description = _streams_of(self._map)
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    @property
    def description(self) -> memoryview:
        self._check_size()
        return self._description

    def tables(self, begin: int, end: int) -> memoryview:
        self._check_size()
        check_extent(begin, end, self._tables.nbytes)
        return self._tables[begin:end]

    def read(self, stream: int, begin: int, end: int) -> memoryview:
        self._check_size()
        if not 0 <= stream < len(self._streams):
            raise CorruptData(
                f"{self._path.name} has {len(self._streams)} buffers, and number {stream} is wanted"
            )
        check_extent(begin, end, self._streams[stream].nbytes)
        return self._streams[stream][begin:end]

    def _check_size(self) -> None:
        # Touching a mapped page that was cut off would end the process.
        if self._file < 0 or os.fstat(self._file).st_size < self._nbytes:
            raise CorruptData(f"{self._path.name} was cut off while it was open")

    def close(self) -> None:
        file, self._file = getattr(self, "_file", -1), -1
        if file >= 0:
            os.close(file)


def _mapped(file: int, nbytes: int, whole: bool) -> mmap.mmap:
    if nbytes == 0:
        raise CorruptData("the file is empty")
    flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if whole else 0)
    content = mmap.mmap(file, nbytes, flags=flags, prot=mmap.PROT_READ)
    if not whole:
        content.madvise(mmap.MADV_RANDOM)  # single pages are wanted, not what lies around them
    return content


def _streams_of(content: mmap.mmap) -> tuple[list[memoryview], memoryview, memoryview]:
    # TypeError: a buffer that is missing; UnicodeDecodeError: the name of a column.
    with damage("not a readable Arrow file", pa.ArrowException, OSError, TypeError, UnicodeDecodeError):
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content)))
        if reader.num_record_batches != 2:
            raise CorruptData(f"{reader.num_record_batches} batches where 2 should be")
        first, second = reader.get_batch(0), reader.get_batch(1)
        if first.num_columns < 2 or any(
            c.type != pa.large_binary() for c in (*first.columns, *second.columns)
        ):
            raise CorruptData("the columns are not those of a stored value")
        streams = [memoryview(column.buffers()[2]) for column in first.columns[:-2]]
        tables, description = (memoryview(column.buffers()[2]) for column in second.columns[-2:])
    return streams, tables, description
