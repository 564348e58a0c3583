"""Parquet files: rows of (stream, content), in row groups of 1 MB so that a part reads few of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ....errors import CorruptData
from .container import Closing, Container, OpenContainer, check_extent, damage, sync_file

_GROUP_BYTES = 1024 * 1024
_SCHEMA = pa.schema([pa.field("stream", pa.int32(), False), pa.field("content", pa.large_binary(), False)])


class ParquetContainer(Container):
    suffix = "parquet"

    def write(self, path: Path, streams: Sequence[memoryview], closing: Callable[[], Closing]) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # Compression, where wanted, was applied by chunk before: it works alike in every container.
        with pq.ParquetWriter(path, _SCHEMA, compression="none", use_dictionary=False) as writer:
            for number, stream in enumerate(streams):
                _write_stream(writer, number, stream)
            for number, stream in enumerate(closing(), start=len(streams)):
                _write_stream(writer, number, stream)
        sync_file(path)

    def open(self, path: Path, *, whole: bool) -> OpenContainer:
        return _ParquetFile(path)


def _write_stream(writer: pq.ParquetWriter, number: int, stream: memoryview) -> None:
    for at in range(0, stream.nbytes, _GROUP_BYTES):
        content = stream[at : at + _GROUP_BYTES]
        offsets = pa.py_buffer(np.array([0, content.nbytes], dtype=np.int64))
        column = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(content)], 0)
        batch = pa.RecordBatch.from_arrays([pa.array([number], pa.int32()), column], schema=_SCHEMA)
        writer.write_batch(batch)


class _ParquetFile(OpenContainer):
    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb"):  # FileNotFoundError before Arrow's own errors
            pass
        with damage("not a readable Parquet file", pa.ArrowException, OSError, TypeError, OverflowError):
            self._file = pq.ParquetFile(path, pre_buffer=False)
            if not self._file.schema_arrow.equals(_SCHEMA):
                raise CorruptData(f"{path.name} does not have the columns of a stored value")
            if self._file.metadata.num_row_groups != self._file.metadata.num_rows:
                raise CorruptData(f"{path.name} does not have one row in each row group")
            # The stream of each group is in its statistics, which are part of the footer.
            metadata = self._file.metadata
            self._groups: dict[int, list[int]] = {}
            for group in range(metadata.num_row_groups):
                statistics = metadata.row_group(group).column(0).statistics
                if statistics is None or not statistics.has_min_max:
                    raise CorruptData(f"{path.name} does not tell what is in row group {group}")
                self._groups.setdefault(int(statistics.min), []).append(group)
        if len(self._groups) < 1:
            raise CorruptData(f"{path.name} is empty")

    @property
    def description(self) -> memoryview:
        return self._whole(max(self._groups))

    def tables(self, begin: int, end: int) -> memoryview:
        return self._range(max(self._groups) - 1, begin, end)

    def read(self, stream: int, begin: int, end: int) -> memoryview:
        return self._range(stream, begin, end)

    def _whole(self, stream: int) -> memoryview:
        return memoryview(b"".join(map(self._group, self._groups.get(stream, ()))))

    def _range(self, stream: int, begin: int, end: int) -> memoryview:
        first, last = begin // _GROUP_BYTES, -(-end // _GROUP_BYTES)
        groups = self._groups.get(stream, [])
        check_extent(begin, end, len(groups) * _GROUP_BYTES)
        content = b"".join(map(self._group, groups[first:last]))
        check_extent(begin, end, first * _GROUP_BYTES + len(content))
        return memoryview(content)[begin - first * _GROUP_BYTES : end - first * _GROUP_BYTES]

    def _group(self, group: int) -> memoryview:
        with damage(f"{self._path.name} is damaged", pa.ArrowException, OSError, ValueError, IndexError):
            column = self._file.read_row_group(group, columns=["content"], use_threads=False).column(0)
            (chunk,) = column.chunks
            return memoryview(chunk[0].as_buffer())

    def close(self) -> None:
        self._file.close()
