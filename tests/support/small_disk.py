"""A folder with little room: a file system of its own where this user may mount one, else counted bytes."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@contextmanager
def small_disk(folder: Path, nbytes: int) -> Iterator[bool]:
    """Give the folder so much room; whether that is for this process alone, since nothing can be mounted."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", str(folder)]
    if os.geteuid() == 0 and not subprocess.run(["mount", *options], capture_output=True).returncode:
        try:
            yield False
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        undo = count_bytes(folder, nbytes)
        try:
            yield True
        finally:
            undo()


def fill(folder: Path) -> None:
    """Take all the room that is left, as somebody else would."""
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            at = filler.seek(0, os.SEEK_END)
            os.pwritev(filler.fileno(), [bytes(4096)], at)


def count_bytes(folder: Path, nbytes: int) -> Callable[[], None]:
    """From now on writing fails in this process as on a file system of this size; returns what ends that."""
    pwritev, fallocate, statvfs = os.pwritev, os.posix_fallocate, os.statvfs

    def room() -> int:
        return nbytes - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def check(wanted: int) -> None:
        if wanted > room():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def counted_pwritev(file: int, pieces: Any, offset: int) -> int:
        check(sum(map(len, pieces)))
        return pwritev(file, pieces, offset)

    def counted_fallocate(file: int, offset: int, wanted: int) -> None:
        check(offset + wanted - os.fstat(file).st_size)
        fallocate(file, offset, wanted)

    def counted_statvfs(path: Any) -> Any:
        if not Path(path).is_relative_to(folder):
            return statvfs(path)
        free = max(0, room())
        return SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=nbytes, f_frsize=1)

    def undo() -> None:
        os.pwritev, os.posix_fallocate, os.statvfs = pwritev, fallocate, statvfs

    os.pwritev, os.posix_fallocate = counted_pwritev, counted_fallocate
    os.statvfs = counted_statvfs
    return undo
