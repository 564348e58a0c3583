"""A lock on a folder, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from .errors import LockHeld


def lock_folder(folder: Path, held: str) -> int:
    """The descriptor of a folder's lock file; closing it frees the folder.

    Raises `LockHeld` where another one holds it, in this process or in another. `held` says what to do
    then; ``{owner}`` in it becomes the number of that process.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise LockHeld(f"{folder} {held.replace('{owner}', owner)}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
