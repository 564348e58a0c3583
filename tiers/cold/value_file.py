"""A value's own file: its buffers, their block tables, and a description under a checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgpack
import numpy as np

from ...errors import CorruptData
from ..blobs import Blob
from ..checksum import checksum
from ..codec.compression import NONE, Compression, compression
from ..encoded import Selection
from ..formats import check_format
from ..record import Record
from .blocks import Table, pack, packed_part, plain_part, plain_table, runs_part, unpack
from .containers import Closing, Container, OpenContainer, container_of_suffix

FORMAT = 1
_DIGEST_BYTES = 8
_BESIDE_BYTES = 16 << 20
"""From so many on, checksums are made while the bytes are written: a fifth of the time of a store."""

T = TypeVar("T")


class Layout(NamedTuple):
    """How the buffers lie in the file."""

    compression: str
    stored_lengths: tuple[int, ...]
    table_bytes: tuple[int, ...]


def write_value(
    container: Container, path: Path, blob: Blob, method: Compression, level: int | None
) -> Record:
    """Write a value to a new file and fsync it. Returns the record, with the checksums of the buffers
    where it came without."""
    record = blob.record
    if method.name == NONE:
        streams = blob.buffers
        tables: list[Table] | None = None
    else:
        packed = [pack(buffer, method, level) for buffer in blob.buffers]
        streams, tables = tuple(p.content for p in packed), [p.table for p in packed]

    def checksums() -> tuple[Record, list[Table]]:
        whole = record
        if len(record.checksums) != len(blob.buffers):
            whole = record.replace(checksums=tuple(map(checksum, blob.buffers)))
        return whole, [plain_table(buffer) for buffer in blob.buffers] if tables is None else tables

    with _beside(checksums, record.nbytes) as made:

        def closing() -> Closing:
            whole, tables = made()
            layout = Layout(method.name, tuple(s.nbytes for s in streams), tuple(t.nbytes for t in tables))
            joined = np.concatenate(tables) if tables else np.empty(0, np.uint64)
            return Closing(joined.view(np.uint8).data, memoryview(_pack_description(whole, layout)))

        container.write(path, streams, closing)
        return made()[0]


@contextmanager
def _beside(work: Callable[[], T], nbytes: int) -> Iterator[Callable[[], T]]:
    """The result of `work`; for many bytes it is made by another thread while this one goes on."""
    if nbytes < _BESIDE_BYTES:
        yield cache(work)
        return
    with ThreadPoolExecutor(1, "checksums") as pool:
        try:
            result = pool.submit(work).result
        except RuntimeError:  # no thread to be had, or the interpreter is about to end
            result = cache(work)
        yield result


def _pack_description(record: Record, layout: Layout) -> bytes:
    packed = bytes(msgpack.packb((FORMAT, record.pack(), *layout), use_bin_type=True))
    return checksum(packed).to_bytes(_DIGEST_BYTES, "little") + packed


def _unpack_description(content: memoryview) -> tuple[Record, Layout]:
    packed = content[_DIGEST_BYTES:]
    if int.from_bytes(content[:_DIGEST_BYTES], "little") != checksum(packed):
        raise CorruptData("the description does not match its checksum")
    try:
        version, record, method, stored, tables = msgpack.unpackb(packed, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptData(f"the description cannot be read: {error}") from error
    check_format(version, FORMAT, "the file")
    return Record.unpack(record), Layout(method, stored, tables)


class ValueFile:
    """An open file of one value. Reading is for any thread where the container allows."""

    def __init__(self, container: Container, path: Path, *, whole: bool) -> None:
        self._container = container
        self._file: OpenContainer = container.open(path, whole=whole)
        try:
            self.record, self.layout = _unpack_description(self._file.description)
            if not len(self.record.lengths) == len(self.record.checksums) == len(self.layout.stored_lengths):
                raise CorruptData("the description tells of different numbers of buffers")
            self._method = compression(self.layout.compression)
        except BaseException:
            self._file.close()
            raise

    def read_all(self) -> tuple[memoryview, ...]:
        """Every buffer, verified; views of the file where it is mapped and not compressed."""
        buffers = []
        for number, length in enumerate(self.record.lengths):
            content = self._file.read(number, 0, self.layout.stored_lengths[number])
            if self._method.name != NONE:
                content = unpack(content, self._table(number), length, self._method)
            if content.nbytes != length or checksum(content) != self.record.checksums[number]:
                raise CorruptData(f"buffer {number} of {length} bytes does not match its checksum")
            buffers.append(content.toreadonly())
        return tuple(buffers)

    def read_part(self, selection: Selection) -> tuple[memoryview, ...]:
        """The selected bytes, verified, reading not much more than they are."""
        parts = []
        for source, ranges in zip(selection.sources, selection.ranges, strict=True):
            if not 0 <= source < len(self.record.lengths):
                raise CorruptData(f"a value of {len(self.record.lengths)} buffers has no buffer {source}")
            length, stored = self.record.lengths[source], self.layout.stored_lengths[source]
            if self._method.name != NONE:
                reader = _StreamReader(self._file, source)
                part = packed_part(reader, self._table(source), length, self._method, ranges)
            elif self._container.mapped:
                whole = self._file.read(source, 0, stored)
                part = plain_part(whole, self._table(source), ranges)
            else:
                part = runs_part(_StreamReader(self._file, source), self._table(source), length, ranges)
            parts.append(part)
        return tuple(parts)

    def _table(self, number: int) -> Table:
        begin = sum(self.layout.table_bytes[:number])
        content = self._file.tables(begin, begin + self.layout.table_bytes[number])
        if content.nbytes % 8:
            raise CorruptData(f"a checksum table of {content.nbytes} bytes")
        return np.frombuffer(content, np.uint64)

    def close(self) -> None:
        """Let go of the file; views that were handed out stay valid."""
        self._file.close()


def read_value(path: Path) -> Blob:
    """A value from its own file, verified; the buffers are views of the file where it is mapped.

    For any process: a file is never changed, only removed, and what is mapped stays. Raises `CorruptData`,
    and `OSError` where the file is gone or another user's.
    """
    file = ValueFile(container_of_suffix(path.suffix.removeprefix(".")), path, whole=True)
    try:
        return Blob(file.record, file.read_all())
    finally:
        file.close()


class _StreamReader(NamedTuple):
    file: OpenContainer
    stream: int

    def __call__(self, begin: int, end: int) -> memoryview:
        return self.file.read(self.stream, begin, end)
