"""Reading snapshots: everything is verified before the first value is handed out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from xxhash import xxh3_64

from ...errors import CorruptData, KeyNotFound, PickleRefused
from ..blobs import Blob
from ..checksum import checksum
from ..codec import decode
from ..record import Record
from .layout import TRAILER_BYTES, SnapshotInfo, Trailer, read_schema

_CHUNK_BYTES = 2**20


class SnapshotReader:
    """An open snapshot, found to be whole: `info`, and `blobs` as often as wanted.

    Opening reads the file twice: once for the checksum over all of it, once through every value (its
    checksums, and, with ``allow_pickle=False``, that it can be decoded and whether it holds a pickle).
    Raises `CorruptData`. A file-like object that cannot seek is first copied to a temporary file. Memory
    stays bounded by the largest value.

    Not thread-safe. A context manager; it closes what it opened itself.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        *,
        allow_pickle: bool = False,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        self._allow_pickle = allow_pickle
        with ExitStack() as stack:
            self._file = _seekable(source, stack)
            self._start = self._file.tell()
            self._trailer = self._verify_bytes()
            self.info = self._verify_values(advance)
            self._stack = stack.pop_all()

    def blobs(self, keys: Iterable[str] | None = None) -> Iterator[Blob]:
        """The blobs, in the order in which they were written; only some where `keys` says which.

        Their buffers are views of what was read; whoever keeps one keeps its neighbours. Raises
        `KeyNotFound` if a wanted key is not in the snapshot, and `PickleRefused` if a wanted value is a
        pickle and `allow_pickle` is False: both before the first blob.
        """
        wanted = None if keys is None else set(keys)
        if wanted is not None:
            self._check_keys(wanted)
        self._check_pickles(wanted)
        return (blob for blob in self._parsed() if wanted is None or blob.record.key in wanted)

    def records(self) -> Iterator[Record]:
        """What is in the snapshot."""
        return iter(self._records)

    def close(self) -> None:
        """Close what was opened here; closing again is fine."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_keys(self, wanted: set[str]) -> None:
        missing = wanted - {record.key for record in self._records}
        if missing:
            raise KeyNotFound(f"not in the snapshot: {', '.join(map(repr, sorted(missing)[:5]))}")

    def _check_pickles(self, wanted: set[str] | None) -> None:
        refused = self._pickled if wanted is None else self._pickled & wanted
        if refused and not self._allow_pickle:
            raise PickleRefused(
                f"{len(refused)} values hold a pickle, which can run any code (the first: "
                f"{min(refused)!r:.80}): restore with allow_pickle=True if you trust the snapshot's origin, "
                "or choose other keys"
            )

    def _verify_bytes(self) -> Trailer:
        end = self._file.seek(0, os.SEEK_END)
        length = end - self._start
        if length < TRAILER_BYTES:
            raise CorruptData(f"a file of {length} bytes is too short to be a snapshot")
        self._file.seek(end - TRAILER_BYTES)
        trailer = Trailer.unpack(self._file.read(TRAILER_BYTES))
        if trailer.stream_bytes != length - TRAILER_BYTES:
            expected = trailer.stream_bytes + TRAILER_BYTES
            raise CorruptData(f"the snapshot should be {expected:,} bytes long and has {length:,}")
        self._file.seek(self._start)
        digest = xxh3_64()
        left = trailer.stream_bytes
        while left:
            chunk = self._file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise CorruptData("the snapshot ended while it was being read")
            digest.update(chunk)
            left -= len(chunk)
        if digest.intdigest() != trailer.checksum:
            raise CorruptData("the snapshot is damaged: its bytes do not match their checksum")
        return trailer

    def _verify_values(self, advance: Callable[[int], None] | None) -> SnapshotInfo:
        self._records: list[Record] = []
        self._pickled: set[str] = set()
        keys: set[str] = set()
        value_bytes = 0
        for blob in self._parsed():
            record = blob.record
            if record.key in keys:
                raise CorruptData(f"the snapshot holds {record.key!r:.80} twice")
            if self._holds_pickle(blob):
                self._pickled.add(record.key)
            keys.add(record.key)
            self._records.append(record)
            value_bytes += record.nbytes
            if advance is not None:
                advance(record.nbytes)
        if (len(keys), value_bytes) != (self._trailer.entries, self._trailer.value_bytes):
            raise CorruptData(
                f"the snapshot should hold {self._trailer.entries} entries of {self._trailer.value_bytes:,} "
                f"bytes and holds {len(keys)} of {value_bytes:,}"
            )
        return SnapshotInfo(
            entries=len(keys),
            value_bytes=value_bytes,
            file_bytes=self._trailer.stream_bytes + TRAILER_BYTES,
            created_s=self._created_s,
            description=self._description,
        )

    def _holds_pickle(self, blob: Blob) -> bool:
        if blob.record.has_pickle or self._allow_pickle:
            return blob.record.has_pickle
        # A record may lie about pickles: only decoding shows. Arrays cost nothing here, being views.
        try:
            decode(blob.record.header, blob.buffers, allow_pickle=False)
        except PickleRefused:
            return True
        return False

    def _parsed(self) -> Iterator[Blob]:
        """Every blob, its checksums verified."""
        record: Record | None = None
        buffers: list[memoryview] = []
        for packed, buffer in self._rows():
            if packed is not None:
                if record is not None:
                    yield _checked(record, buffers)
                record, buffers = Record.unpack(packed), []
            elif record is None or buffer is None:
                raise CorruptData("the snapshot holds a buffer that belongs to no value")
            if buffer is not None:
                buffers.append(buffer)
        if record is not None:
            yield _checked(record, buffers)

    def _rows(self) -> Iterator[tuple[bytes | None, memoryview | None]]:
        import pyarrow as pa

        self._file.seek(self._start)
        try:
            # The file is Python's, and stays open when Arrow is done with it.
            stream = pa.ipc.open_stream(pa.PythonFile(_KeptOpen(self._file), mode="r"))
            self._created_s, self._description = read_schema(stream.schema)
            for batch in stream:
                batch.validate(full=True)
                yield from zip(batch.column(0).to_pylist(), _views(batch.column(1)), strict=True)
        except CorruptData:
            raise
        except (pa.ArrowException, OSError, EOFError, ValueError, TypeError, LookupError) as error:
            raise CorruptData(f"the snapshot cannot be read as an Arrow stream: {error}") from error


def read_snapshot(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    keys: Iterable[str] | None = None,
    allow_pickle: bool = False,
) -> Iterator[Blob]:
    """The blobs of a snapshot, all of it verified before the first one comes; see `SnapshotReader`.

    Verification happens in this call, not when the iterator is first used.
    """
    reader = SnapshotReader(source, allow_pickle=allow_pickle)
    try:
        blobs = reader.blobs(keys)
    except BaseException:
        reader.close()
        raise

    def closing() -> Iterator[Blob]:
        with reader:
            yield from blobs

    return closing()


def _checked(record: Record, buffers: list[memoryview]) -> Blob:
    """A blob whose buffers are those of its record."""
    if len(buffers) != len(record.lengths) or len(record.checksums) != len(record.lengths):
        raise CorruptData(
            f"{record.key!r:.80} has {len(buffers)} buffers, and its record speaks of {len(record.lengths)}"
        )
    trimmed = []
    for buffer, length, expected in zip(buffers, record.lengths, record.checksums, strict=True):
        if not 0 <= length <= buffer.nbytes < length + 8:
            raise CorruptData(f"{record.key!r:.80} has a buffer of {buffer.nbytes} bytes instead of {length}")
        view = buffer[:length]
        if checksum(view) != expected:
            raise CorruptData(f"{record.key!r:.80} does not match its checksum")
        trimmed.append(view)
    return Blob(record, tuple(trimmed))


def _views(column: Any) -> Iterator[memoryview | None]:
    """The rows of a large_binary array as views of its memory."""
    if len(column) == 0:
        return
    _, offsets_buffer, data = column.buffers()
    whole = memoryview(b"") if data is None else memoryview(data).cast("B").toreadonly()
    # The validation of the batch has seen to it that there are so many offsets, that they ascend, and
    # that they end within the data.
    offsets = np.frombuffer(offsets_buffer, np.int64, len(column) + 1, 8 * column.offset).tolist()
    valid = column.is_valid().to_pylist()
    for row in range(len(column)):
        yield whole[offsets[row] : offsets[row + 1]] if valid[row] else None


def _seekable(source: str | os.PathLike[str] | IO[bytes], stack: ExitStack) -> IO[bytes]:
    if isinstance(source, str | os.PathLike):
        return stack.enter_context(Path(source).open("rb"))
    if source.seekable():
        return source
    spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(source, spool, _CHUNK_BYTES)
    spool.seek(0)
    return spool


class _KeptOpen:
    """A file that Arrow may close without closing it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count)

    def seek(self, *position: int) -> int:
        return self._file.seek(*position)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        """The file is somebody else's to close."""
