"""`Folder`: the directory of a cold store: its places, its lock, and durable changes to it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ...durable import make_private_folder, sync_folder
from ...errors import CorruptData, InvalidValue, PermissionRefused, StorageFull, Unavailable
from ...folder_locks import lock_folder
from ...reserve import NO_ROOM, Reserve
from ..formats import check_format

_VALUE_FILE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})\.([a-z0-9]{1,8})")
_SEGMENT_FILE = re.compile(r"([0-9a-f]{16})\.(?:segment|index)")
TEMPORARY = ".temporary"
FORMAT = 1
"""Of everything in the folder: raised whenever frames, files, records or headers change, so that an older
library never opens what it would misunderstand."""
_FORMAT_FILE = "format"


class FileName(NamedTuple):
    """Name of a value's own file. The key is not part of it: keys are arbitrary text."""

    digest: str
    generation: int
    suffix: str

    def __str__(self) -> str:
        return f"{self.digest}-{self.generation:016x}.{self.suffix}"


def key_digest(key: str) -> str:
    """What stands for a key in file names."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _digest(number: bytes) -> bytes:
    """Tells a newer number from a damaged one."""
    return blake2b(number, digest_size=8).hexdigest().encode()


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Errors of the operating system as ours; a file that is not there is for the caller to explain."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(
                f"no room left while {doing}: {error}. Nothing was changed; free some space"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionRefused(f"not allowed while {doing}: {error}") from error
        if type(error).__module__ == "builtins":
            raise Unavailable(f"the disk failed while {doing}: {error}") from error
        raise


class Folder:
    """One cold store's directory, locked for this process until `close`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.values = self.path / "values"
        self.segments = self.path / "segments"
        self.quarantine = self.path / "quarantine"
        with disk_errors(f"opening the cold store in {self.path}"):
            if self.path.exists() and not self.path.is_dir():
                raise InvalidValue(f"{self.path} is a file: a cold store needs a folder")
            self._lock: int | None = self._locked()
            self._check_format()
            for place in (self.values, self.segments, self.quarantine):
                place.mkdir(mode=0o700, exist_ok=True)
            for leftover in [*self.values.glob("*" + TEMPORARY), *self.segments.glob("*" + TEMPORARY)]:
                leftover.unlink()
            sync_folder(self.path)
        self.reserve = Reserve(self.path / "reserve")

    def _locked(self) -> int:
        if not self.path.exists():
            make_private_folder(self.path)
        return lock_folder(
            self.path, "is in use by process {owner}: close that store first, or use another folder"
        )

    def _check_format(self) -> None:
        """What a newer library has written must not be taken for damage: that would be cleaned up."""
        file = self.path / _FORMAT_FILE
        try:
            number, digest = file.read_bytes().split()
            if digest != _digest(number):
                raise ValueError("damaged")
            written = int(number)
        except (FileNotFoundError, ValueError):
            # New, or of before there was this file, or damaged: the number is ours from now on.
            temporary = file.with_suffix(TEMPORARY)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                number = str(FORMAT).encode()
                opened.write(number + b" " + _digest(number) + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            temporary.replace(file)
            return
        try:
            check_format(written, FORMAT, f"the cold store in {self.path}")
        except CorruptData:
            self.close()
            raise

    @property
    def spare_bytes(self) -> int:
        """What deletions and compaction may write: the room on the disk, and what is kept back."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize + self.reserve.nbytes

    def value_files(self, place: Path | None = None) -> Iterator[FileName]:
        """The files that hold one value each."""
        for name in os.listdir(place or self.values):
            if match := _VALUE_FILE.fullmatch(name):
                yield FileName(match[1], int(match[2], 16), match[3])

    def oldest_files(self) -> dict[str, int]:
        """By the digest of a key the generation of its oldest file, in use or set aside."""
        oldest: dict[str, int] = {}
        for place in (self.values, self.quarantine):
            for name in self.value_files(place):
                oldest[name.digest] = min(name.generation, oldest.get(name.digest, name.generation))
        return oldest

    def segment_numbers(self) -> list[int]:
        """The segments, oldest first; also those of which only the index is left."""
        names = (_SEGMENT_FILE.fullmatch(name) for name in os.listdir(self.segments))
        return sorted({int(match[1], 16) for match in names if match})

    def set_aside(self, name: FileName) -> Path:
        """Move a damaged file out of the way, where it can be looked at. Returns where it is."""
        target = self.quarantine / str(name)
        with suppress(FileNotFoundError):
            os.replace(self.values / str(name), target)
        return target

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
