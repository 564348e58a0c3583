"""The file that a replay buffer is saved in: arrays and plain values, checksummed, without pickle.

    8 bytes   b"MEMREPL1"
    arrays    raw little-endian bytes, each at a multiple of 64
    footer    JSON: {"values": ..., "arrays": {name: {dtype, shape, offset, xxh3}}}
    24 bytes  footer offset and length (uint64, little-endian), xxh3-64 of the footer

The file is written under another name, synced, and renamed: under its own name it is whole or absent.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ..durable import sync_folder
from ..errors import CorruptData, InvalidValue

MAGIC = b"MEMREPL1"
_TRAILER = struct.Struct("<QQQ")
_ALIGNMENT = 64
_CHUNK_BYTES = 8 << 20

Arrays = dict[str, NDArray[Any]]


class BufferState(NamedTuple):
    """Everything about a buffer: plain values (as JSON has them) and arrays. ``rows/NAME`` are columns.

    Examples:
        >>> state = BufferState({"capacity": 10}, {"rows/x": np.arange(10)})
        >>> sorted(state.arrays)
        ['rows/x']
    """

    values: dict[str, Any]
    arrays: Arrays


class CheckpointWriter:
    """Writes one checkpoint; use as a context manager. Only a clean exit makes the file appear."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        # A name of its own: other threads and processes may write to the same path, and the last one stands.
        self._partial = self._path.with_name(f".{self._path.name}.{secrets.token_hex(6)}.partial")
        self._entries: dict[str, dict[str, Any]] = {}
        self._hashes: dict[str, Any] = {}
        self._written: dict[str, int] = {}
        self._values: dict[str, Any] = {}

    def __enter__(self) -> CheckpointWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._partial.open("xb")
        self._file.write(MAGIC)
        self._end = len(MAGIC)
        return self

    def reserve(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Make room for an array that `append` then fills."""
        offset = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        stored = dtype.newbyteorder("<")
        self._entries[name] = {"dtype": stored.str, "shape": list(shape), "offset": offset}
        self._hashes[name] = xxhash.xxh3_64()
        self._written[name] = 0
        self._end = offset + nbytes

    def append(self, name: str, part: NDArray[Any]) -> None:
        """The next elements of an array, along its first axis."""
        entry = self._entries[name]
        data = np.ascontiguousarray(part, dtype=np.dtype(entry["dtype"])).reshape(-1).view(np.uint8).data
        self._file.seek(entry["offset"] + self._written[name])
        self._file.write(data)
        self._hashes[name].update(data)
        self._written[name] += data.nbytes

    def add(self, name: str, array: NDArray[Any]) -> None:
        """A whole array."""
        self.reserve(name, array.dtype, array.shape)
        if array.size:
            self.append(name, array)

    def set_values(self, values: dict[str, Any]) -> None:
        self._values = values

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            with suppress(FileNotFoundError):
                self._partial.unlink()

    def _finish(self) -> None:
        for name, entry in self._entries.items():
            entry["xxh3"] = self._hashes[name].intdigest()
        footer = json.dumps({"values": self._values, "arrays": self._entries}).encode()
        self._file.seek(self._end)
        self._file.write(footer)
        self._file.write(_TRAILER.pack(self._end, len(footer), xxhash.xxh3_64_intdigest(footer)))
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._partial, self._path)
        sync_folder(self._path.parent)


class CheckpointReader:
    """Reads a checkpoint. Opening it checks the footer, `verify` everything; damage is `CorruptData`.

    Examples:
        >>> import tempfile
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10)
        >>> _ = buffer.add(x=1.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     buffer.checkpoint(f"{folder}/replay.bin")
        ...     CheckpointReader(f"{folder}/replay.bin").verify()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise CorruptData(f"{self.path} is not a replay checkpoint, or of an unknown version.")
            try:
                file.seek(max(0, size - _TRAILER.size))
                offset, length, digest = _TRAILER.unpack(file.read(_TRAILER.size))
                if offset + length + _TRAILER.size != size:
                    raise CorruptData(f"{self.path} is cut off or has bytes added: {size} bytes.")
                file.seek(offset)
                footer = file.read(length)
                if xxhash.xxh3_64_intdigest(footer) != digest:
                    raise CorruptData(f"The footer of {self.path} does not match its checksum.")
                content = json.loads(footer)
            except (struct.error, ValueError) as error:
                if isinstance(error, CorruptData):
                    raise
                raise CorruptData(f"{self.path} has no readable footer: {error}") from error
        self.values: dict[str, Any] = content["values"]
        self._entries: dict[str, dict[str, Any]] = content["arrays"]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def array(self, name: str) -> NDArray[Any]:
        """One array as a read-only map of the file: pages are read when they are looked at."""
        entry = self._entries[name]
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.memmap(self.path, dtype=dtype, mode="r", offset=entry["offset"], shape=shape)

    def verify(self) -> None:
        """Read everything and compare checksums; raises `CorruptData` at the first that differs."""
        for name, entry in self._entries.items():
            digest = xxhash.xxh3_64()
            for part in _byte_chunks(self.array(name)):
                digest.update(part)
            if digest.intdigest() != entry["xxh3"]:
                raise CorruptData(f"Array {name!r} in {self.path} does not match its checksum.")

    def state(self) -> BufferState:
        """The whole state; the arrays are maps of the file, in native byte order."""
        native = sys.byteorder == "little"
        arrays = {name: self.array(name) for name in self._entries}
        if not native:
            arrays = {name: a.astype(a.dtype.newbyteorder("=")) for name, a in arrays.items()}
        return BufferState(self.values, arrays)


def _byte_chunks(array: NDArray[Any]) -> Iterator[memoryview]:
    flat = array.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _CHUNK_BYTES):
        yield flat[start : start + _CHUNK_BYTES].data


def require(condition: bool, message: str) -> None:
    """Raise `InvalidValue` unless a checkpoint fits the buffer that is to take it."""
    if not condition:
        raise InvalidValue(message)


def scoped(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Those arrays whose name begins with ``prefix/``, without it."""
    start = f"{prefix}/"
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
