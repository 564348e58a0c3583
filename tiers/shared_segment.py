"""`Segment`: POSIX shared memory that other processes of this machine can map.

`multiprocessing.shared_memory` is not used for it: before Python 3.13 a process that merely attaches
removes the segment when it ends, its creator cannot release a segment while an array looks at it, and
`ftruncate` without `fallocate` turns a full `/dev/shm` into a crash (SIGBUS) on the first write.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import weakref
from multiprocessing import resource_tracker
from pathlib import Path

from ..errors import KeyNotFound, StorageFull

_FOLDER = Path("/dev/shm")


class Segment:
    """One block of shared memory, owned by the process that made it.

    The name goes when the owner drops the object, ends, or is killed (multiprocessing's resource tracker
    sees to the last). The memory goes when, besides, nobody maps it any more: arrays that look at it stay
    valid.
    """

    def __init__(self, name: str, mapping: mmap.mmap) -> None:
        self.name = name
        self._mapping = mapping

    @classmethod
    def create(cls, nbytes: int) -> Segment:
        """A new zeroed segment. Raises `StorageFull` where shared memory has no room for it."""
        name = f"memories-{os.getpid()}-{secrets.token_hex(8)}"
        path = _FOLDER / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, max(1, nbytes))
            mapping = mmap.mmap(descriptor, max(1, nbytes))
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise StorageFull(
                    f"shared memory ({_FOLDER}) has no room for {nbytes:,} bytes: raise its size, "
                    "or use shared_memory=False"
                ) from error
            raise
        finally:
            os.close(descriptor)
        resource_tracker.register(f"/{name}", "shared_memory")
        segment = cls(name, mapping)
        weakref.finalize(segment, _unlink, name, os.getpid())
        return segment

    @classmethod
    def attach(cls, name: str) -> Segment:
        """A segment that another process made. Raises `KeyNotFound` once it is gone."""
        if "/" in name:
            raise KeyNotFound(f"{name!r:.80} is not the name of a shared segment")
        try:
            descriptor = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise KeyNotFound(
                f"the shared segment {name} is gone: its value was replaced or deleted, or its owner ended"
            ) from error
        try:
            return cls(name, mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
        finally:
            os.close(descriptor)

    @property
    def buffer(self) -> memoryview:
        """The whole segment; writable for the owner until it hands out read-only views."""
        return memoryview(self._mapping)


def _unlink(name: str, owner: int) -> None:
    if os.getpid() != owner:  # a forked child inherits the object, but not the segment
        return
    (_FOLDER / name).unlink(missing_ok=True)
    resource_tracker.unregister(f"/{name}", "shared_memory")
