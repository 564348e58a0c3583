"""The interface of a container: a file of byte streams that can be read in parts.

The first streams are the buffers of a value, known when writing starts; then come two more, the block
tables and the description, which are asked for after the buffers were written, so that checksums are
computed while the disk works.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ....errors import CorruptData


class Closing(NamedTuple):
    """The two streams at the end of a file."""

    tables: memoryview
    description: memoryview


class OpenContainer(ABC):
    """A container opened for reading. Streams are numbered as they were written."""

    @property
    @abstractmethod
    def description(self) -> memoryview:
        """The last stream."""

    @abstractmethod
    def tables(self, begin: int, end: int) -> memoryview:
        """Bytes of the stream of block tables."""

    @abstractmethod
    def read(self, stream: int, begin: int, end: int) -> memoryview:
        """Bytes of one of the first streams: a view of the mapped file, or read from it. Raises
        `CorruptData` where there are fewer."""

    def close(self) -> None:  # noqa: B027 - nothing to release is a fine default
        """Let go of the file. Views that were handed out stay valid."""


class Container(ABC):
    """Writes and opens files of one format. Stateless."""

    suffix: str
    """Of the file names, without the dot."""
    mapped: bool = False
    """Whether what `read` returns are views of the mapped file, which cost no memory."""

    @abstractmethod
    def write(self, path: Path, streams: Sequence[memoryview], closing: Callable[[], Closing]) -> None:
        """Write a new file with mode 0600, and fsync it. On an error the caller removes what is there."""

    @abstractmethod
    def open(self, path: Path, *, whole: bool) -> OpenContainer:
        """Open a file, `whole` where all of it is about to be read. Raises `CorruptData` for a damaged
        one, and FileNotFoundError."""


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_extent(begin: int, end: int, nbytes: int) -> None:
    """Raise `CorruptData` for bytes that a stream does not have."""
    if not 0 <= begin <= end <= nbytes:
        raise CorruptData(f"a stream of {nbytes} bytes has no bytes {begin} to {end}")
