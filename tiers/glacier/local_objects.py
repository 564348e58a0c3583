"""`LocalObjects`: objects as files in a folder, for tests, small set-ups and network file systems."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

from ...durable import make_private_folder, sync_folder
from ...errors import (
    BucketNotFound,
    ConflictingWrite,
    CorruptData,
    PermissionRefused,
    StorageFull,
    Unavailable,
)
from ...reserve import NO_ROOM
from .objects import Attempt, Condition, Fetched, Listed, ObjectGone, ObjectStore, Part, PartSource

_TEMPORARY = ".unfinished"


class LocalObjects(ObjectStore):
    """One file an object, under its name; ``/`` in names makes folders.

    A write goes to a temporary file, is synced, renamed, and the folder is synced: after a crash the
    object is the old one or the new one. Conditional writes take a lock on a file of the folder, so they
    hold between processes of this machine.
    """

    lists_in_order = False  # as the folder has them, none held

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root).expanduser().absolute()
        self.address = f"folder {self._root}"
        with self._translated("opening"):
            make_private_folder(self._root / _TEMPORARY)
        # flock is per open file, so threads of this process would not exclude each other by it.
        self._thread_lock = threading.Lock()

    def read(self, name: str, length: int) -> Fetched:
        with self._translated("reading"), self._opened(name) as descriptor:
            status = os.fstat(descriptor)
            data = bytearray(min(length, status.st_size))
            self._fill(descriptor, 0, memoryview(data), name)
            return Fetched(memoryview(data), _tag(status), status.st_size)

    def read_into(self, name: str, start: int, into: memoryview) -> None:
        with self._translated("reading"), self._opened(name) as descriptor:
            self._fill(descriptor, start, into, name)

    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        with self._translated("writing"), self._temporary() as (temporary, descriptor):
            for view in part:
                _write_all(descriptor, view)
            os.fsync(descriptor)
            tag = _tag(os.fstat(descriptor))
            with self._exclusive():
                if condition is not None:
                    self._check(name, condition)
                self._publish(temporary, name)
            return tag

    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        with self._translated("writing"), self._temporary() as (temporary, descriptor):
            for part in parts():
                for view in part:
                    _write_all(descriptor, view)
            os.fsync(descriptor)
            self._publish(temporary, name)

    def delete(self, name: str) -> None:
        with self._translated("deleting"):
            path = self._root / name
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                sync_folder(path.parent)

    def delete_if(self, name: str, tag: str) -> None:
        with self._translated("deleting"), self._exclusive():
            if (self._root / name).exists():
                self._check(name, Condition(tag))
                self.delete(name)

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        folder, _, start = prefix.rpartition("/")
        with self._translated("listing"):
            try:
                entries = os.scandir(self._root / folder)
            except FileNotFoundError:
                self._check_root()
                return
            with entries:
                for entry in entries:
                    if entry.name.startswith(start) and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                            status = entry.stat(follow_symlinks=False)
                            name = f"{folder}/{entry.name}" if folder else entry.name
                            yield Listed(name, status.st_size, status.st_mtime)

    def abandon_uploads(self, prefix: str, *, before_s: float) -> int:
        abandoned = 0
        with self._translated("cleaning"), os.scandir(self._root / _TEMPORARY) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.name != "lock" and entry.stat().st_mtime < before_s:
                        os.unlink(entry.path)
                        abandoned += 1
        return abandoned

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise BucketNotFound(f"the folder {self._root} is gone: was a disk unmounted?")

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        try:
            descriptor = os.open(self._root / name, os.O_RDONLY)
        except FileNotFoundError:
            self._check_root()
            raise ObjectGone(name) from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _fill(self, descriptor: int, start: int, into: memoryview, name: str) -> None:
        done = 0
        while done < into.nbytes:
            count = os.preadv(descriptor, [into[done:]], start + done)
            if count == 0:
                raise CorruptData(
                    f"{self.address}: {name} ends at byte {start + done}, {into.nbytes - done} bytes early"
                )
            done += count

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, int]]:
        self._check_root()
        path = self._root / _TEMPORARY / uuid.uuid4().hex
        path.parent.mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        path = self._root / _TEMPORARY / "lock"
        with self._thread_lock, path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _check(self, name: str, condition: Condition) -> None:
        try:
            found = _tag(os.stat(self._root / name))
        except FileNotFoundError:
            found = None
        if found != condition.tag:
            raise ConflictingWrite(f"{self.address}: somebody else wrote {name} at the same time; try again")

    def _publish(self, temporary: Path, name: str) -> None:
        path = self._root / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(path.parent.parent)
        os.replace(temporary, path)
        sync_folder(path.parent)

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (BucketNotFound, ConflictingWrite, Unavailable):
            raise
        except PermissionError as error:
            raise PermissionRefused(f"{doing} in {self.address} is not allowed: {error}") from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StorageFull(f"{self.address} has no room left; nothing was changed: {error}") from error
            raise Unavailable(f"{doing} in {self.address} failed: {error}") from error


def _tag(status: os.stat_result) -> str:
    # Every write makes a new file, so no two contents share inode, time and size for long.
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _write_all(descriptor: int, view: memoryview) -> None:
    done = 0
    while done < view.nbytes:
        done += os.write(descriptor, view[done:])
