"""`Reserve`: room kept back on a disk, for what has to be written down although the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a file cannot grow."""


class Reserve:
    """A file without content that holds so many bytes; it is removed when they are needed.

    Where the disk has no room for it there is none, until `take` finds some. Not thread-safe.
    """

    def __init__(self, file: Path, nbytes: int) -> None:
        self._file, self._nbytes = file, nbytes
        self._held = False
        self.take()

    def take(self) -> None:
        """Keep the room back, unless that is done already or there is none."""
        if self._held:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._nbytes)
            finally:
                os.close(descriptor)
            self._held = True
        except OSError:
            self._give_up()

    def used_for(self, write: Callable[[], T]) -> T:
        """The answer of `write`, which is called again, with the room that was kept back, where the disk had
        none. It must change nothing where it raises."""
        try:
            return write()
        except OSError as error:
            if error.errno not in NO_ROOM or not self._held:
                raise
        self._give_up()
        return write()

    def _give_up(self) -> None:
        self._held = False
        with suppress(OSError):
            self._file.unlink()
