"""A folder that one buffer uses at a time."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from ..durable import make_private_folder
from ..folder_locks import lock_folder


class FolderLock:
    """Holds a folder, made if need be, until this object is dropped or the process ends, however it ends.

    Raises `LockHeld` where another one holds it, in this process or in another.
    """

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        descriptor = lock_folder(
            folder,
            "holds the rows of another buffer, of process {owner}: drop that buffer first, or use another "
            "folder.",
        )
        weakref.finalize(self, _release, descriptor, os.getpid())


def _release(descriptor: int, owner: int) -> None:
    # Forked processes share the lock: the owner frees it for all of them, and they never free the owner's.
    if os.getpid() == owner:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
