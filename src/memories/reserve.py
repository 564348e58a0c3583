"""`Reserve`: room kept back on a disk, for what has to be written down although the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a file cannot grow."""

_LEAST_BYTES = 64 << 10


class Reserve:
    """A file without content that holds room: it grows while there is some, and shrinks where it is needed.

    It only ever gives up what is needed, or others would take the rest. Not thread-safe.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.nbytes = file.stat().st_size if file.exists() else 0

    def take(self, nbytes: int) -> None:
        """Hold so many bytes, or as many of them as there are."""
        missing = nbytes - self.nbytes
        if missing <= 0:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            while missing >= _LEAST_BYTES and not self._grown(descriptor, missing):
                missing //= 2
        finally:
            os.close(descriptor)

    def used_for(self, write: Callable[[], T]) -> T:
        """The answer of `write`, which is called again, each time with more of the room that was kept back,
        where the disk has none. It must change nothing where it raises."""
        step = _LEAST_BYTES
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno not in NO_ROOM or not self.nbytes:
                    raise
            self._shrink(step)
            step *= 2

    def _grown(self, descriptor: int, nbytes: int) -> bool:
        try:
            os.posix_fallocate(descriptor, self.nbytes, nbytes)
        except OSError:
            os.ftruncate(descriptor, self.nbytes)  # it may have got some of it
            return False
        self.nbytes += nbytes
        return True

    def _shrink(self, nbytes: int) -> None:
        self.nbytes = max(0, self.nbytes - nbytes)
        os.truncate(self._file, self.nbytes)
