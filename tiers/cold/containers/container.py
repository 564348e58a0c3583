"""The interface of a container: a file of byte streams that can be read in parts.

The first streams are the buffers of a value, known when writing starts; then come two more, the block
tables and the description, which are asked for after the buffers were written, so that checksums are
computed while the disk works.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ....errors import CorruptData

_OF_CONTENT = frozenset((None, 0, errno.ENOENT, errno.EINVAL, errno.EFAULT, errno.EOVERFLOW))
"""What damage may lead to: no error of the system at all, or a place that no file has. All others, such as
too many open files or a disk that does not answer, may be gone the next time."""


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


@contextmanager
def damage(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Errors by which a library tells of damage, as `CorruptData`. A want of memory, files or threads and
    a failing disk, which say nothing of the content, go through as they are."""
    try:
        yield
    except CorruptData:
        raise
    except errors as error:
        if not _is_of_content(error):
            raise
        raise CorruptData(f"{what}: {error}") from error


def _is_of_content(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _OF_CONTENT
    # Arrow's own MemoryError is one of its general errors as well.
    return not isinstance(error, MemoryError) and "can't start new thread" not in str(error)


def check_extent(begin: int, end: int, nbytes: int) -> None:
    """Raise `CorruptData` for bytes that a stream does not have."""
    if not 0 <= begin <= end <= nbytes:
        raise CorruptData(f"a stream of {nbytes} bytes has no bytes {begin} to {end}")
