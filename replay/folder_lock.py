"""A folder that one buffer uses at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from pathlib import Path

from ..errors import LockHeld


class FolderLock:
    """Holds a folder, made if need be, until this object is dropped or the process ends, however it ends.

    Raises `LockHeld` where another one holds it, in this process or in another.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise LockHeld(
                f"{folder} holds the rows of another buffer, of process {owner}: drop that buffer first, or "
                "use another folder."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        weakref.finalize(self, _release, descriptor, os.getpid())


def _release(descriptor: int, owner: int) -> None:
    # Forked processes share the lock: the owner frees it for all of them, and they never free the owner's.
    if os.getpid() == owner:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
