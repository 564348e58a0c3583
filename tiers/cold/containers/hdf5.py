"""HDF5 files: a dataset of bytes for each stream (extra `hdf5`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import CorruptData, MissingDependency
from .container import Closing, Container, OpenContainer, check_extent, damage, sync_file

try:
    import h5py
except ImportError as error:
    raise MissingDependency('file_format="hdf5" needs h5py: pip install "memories[hdf5]"') from error

_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)


class Hdf5Container(Container):
    suffix = "h5"

    def write(self, path: Path, streams: Sequence[memoryview], closing: Callable[[], Closing]) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with h5py.File(path, "w", libver="latest") as file:
            for number, stream in enumerate(streams):
                file.create_dataset(f"buffer {number}", data=np.frombuffer(stream, np.uint8))
            end = closing()
            file.create_dataset("checksums", data=np.frombuffer(end.tables, np.uint8))
            file.create_dataset("description", data=np.frombuffer(end.description, np.uint8))
        sync_file(path)

    def open(self, path: Path, *, whole: bool) -> OpenContainer:
        return _Hdf5File(path)


class _Hdf5File(OpenContainer):
    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb"):  # FileNotFoundError before HDF5's own errors
            pass
        with damage("not a readable HDF5 file", OSError, RuntimeError, ValueError):
            self._file = h5py.File(path, "r", locking=False)

    @property
    def description(self) -> memoryview:
        dataset = self._dataset("description")
        return self._slice(dataset, 0, dataset.shape[0])

    def tables(self, begin: int, end: int) -> memoryview:
        return self._slice(self._dataset("checksums"), begin, end)

    def read(self, stream: int, begin: int, end: int) -> memoryview:
        return self._slice(self._dataset(f"buffer {stream}"), begin, end)

    def _dataset(self, name: str) -> Any:
        with damage(f"{self._path.name} is damaged", *_DAMAGE):
            dataset = self._file[name]
            # A damaged header may state any size: never more than the file has.
            if dataset.dtype != np.uint8 or dataset.ndim != 1 or dataset.nbytes > self._path.stat().st_size:
                raise CorruptData(f"{name!r} in {self._path.name} is not a stream of bytes")
        return dataset

    def _slice(self, dataset: Any, begin: int, end: int) -> memoryview:
        check_extent(begin, end, dataset.shape[0])
        with damage(f"{self._path.name} is damaged", *_DAMAGE):
            content: memoryview = dataset[begin:end].data
        return content

    def close(self) -> None:
        self._file.close()
