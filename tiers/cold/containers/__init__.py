"""Containers: the file formats in which a large value is kept, behind one small interface."""

from __future__ import annotations

from importlib import import_module

from ....errors import InvalidValue
from .container import Closing, Container, OpenContainer

_MODULES = {
    "arrow": (".arrow", "ArrowContainer"),
    "parquet": (".parquet", "ParquetContainer"),
    "hdf5": (".hdf5", "Hdf5Container"),
    "zarr": (".zarr", "ZarrContainer"),
}
_SUFFIXES = {"arrow": "arrow", "parquet": "parquet", "h5": "hdf5", "zarr": "zarr"}

FILE_FORMATS = tuple(_MODULES)


def container(file_format: str) -> Container:
    """The container of a file format. Raises `InvalidValue` for an unknown one, and
    `MissingDependency`, naming the extra, where its package is not installed."""
    if file_format not in _MODULES:
        raise InvalidValue(f"unknown file format {file_format!r}: use one of {', '.join(_MODULES)}")
    module, name = _MODULES[file_format]
    made: Container = getattr(import_module(module, __package__), name)()
    return made


def container_of_suffix(suffix: str) -> Container:
    """The container of the files with this suffix."""
    if suffix not in _SUFFIXES:
        raise InvalidValue(f"no container writes files that end in .{suffix}")
    return container(_SUFFIXES[suffix])


__all__ = ["FILE_FORMATS", "Closing", "Container", "OpenContainer", "container", "container_of_suffix"]
