"""Zarr, version 3, in one zip file: an array of bytes for each stream (extra `zarr`)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import CorruptData, MissingDependency
from .container import Closing, Container, OpenContainer, check_extent, damage, sync_file

try:
    import zarr
    from zarr.storage import ZipStore
except ImportError as error:
    raise MissingDependency('file_format="zarr" needs zarr: pip install "memories[zarr]"') from error

_CHUNK_BYTES = 1024 * 1024


class ZarrContainer(Container):
    suffix = "zarr"

    def write(self, path: Path, streams: Sequence[memoryview], closing: Callable[[], Closing]) -> None:
        # One zip file and not a folder, so that renaming it is one step.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        store = ZipStore(path, mode="w", compression=zipfile.ZIP_STORED)
        try:
            group = zarr.open_group(store, mode="w", zarr_format=3)
            for number, stream in enumerate(streams):
                _write_stream(group, f"buffer {number}", stream)
            end = closing()
            _write_stream(group, "checksums", end.tables)
            _write_stream(group, "description", end.description)
        finally:
            store.close()
        sync_file(path)

    def open(self, path: Path, *, whole: bool) -> OpenContainer:
        return _ZarrFile(path)


def _write_stream(group: Any, name: str, stream: memoryview) -> None:
    chunk = max(1, min(_CHUNK_BYTES, stream.nbytes))
    array = group.create_array(
        name,
        shape=(stream.nbytes,),
        dtype="uint8",
        chunks=(chunk,),
        compressors=None,
        config={"write_empty_chunks": True},
    )
    if stream.nbytes:
        array[:] = np.frombuffer(stream, np.uint8)


class _ZarrFile(OpenContainer):
    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb"):  # FileNotFoundError before zarr's own errors
            pass
        self._store = ZipStore(path, mode="r")
        self._group = self._guarded(lambda: zarr.open_group(self._store, mode="r", zarr_format=3))

    @property
    def description(self) -> memoryview:
        array = self._array("description")
        return self._slice(array, 0, array.shape[0])

    def tables(self, begin: int, end: int) -> memoryview:
        return self._slice(self._array("checksums"), begin, end)

    def read(self, stream: int, begin: int, end: int) -> memoryview:
        return self._slice(self._array(f"buffer {stream}"), begin, end)

    def _array(self, name: str) -> Any:
        array = self._guarded(lambda: self._group[name])
        # A damaged header may state any size: never more than the file has.
        if array.dtype != np.uint8 or array.ndim != 1 or array.shape[0] > self._path.stat().st_size:
            raise CorruptData(f"{name!r} in {self._path.name} is not a stream of bytes")
        return array

    def _slice(self, array: Any, begin: int, end: int) -> memoryview:
        check_extent(begin, end, array.shape[0])
        content: memoryview = np.ascontiguousarray(self._guarded(lambda: array[begin:end])).data
        return content

    def _guarded(self, work: Callable[[], Any]) -> Any:
        with damage(f"{self._path.name} is damaged", Exception):  # zip, JSON and zarr have one each
            return work()

    def close(self) -> None:
        self._store.close()
