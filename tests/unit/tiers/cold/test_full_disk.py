"""A disk without room refuses values, and takes deletions: they are what makes room again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memories.actors.disk import Disk
from memories.errors import StorageFull
from memories.tiers.blobs import Blob
from memories.tiers.cold import ColdBlobs
from memories.tiers.record import Record, Version
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, largest_file, noise

DISK_BYTES = 4 << 20


def mounted(folder: Path) -> bool:
    """Make the folder a file system of its own, where this user may."""
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and not subprocess.run(["mount", *options], capture_output=True).returncode


def count_bytes(folder: Path, patched: pytest.MonkeyPatch) -> None:
    """Where nothing can be mounted: writing fails as on a file system of this size."""
    pwritev, fallocate = os.pwritev, os.posix_fallocate

    def check(nbytes: int) -> None:
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if used + nbytes > DISK_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def counted_pwritev(file: int, pieces: Any, offset: int) -> int:
        check(sum(map(len, pieces)))
        return pwritev(file, pieces, offset)

    def counted_fallocate(file: int, offset: int, nbytes: int) -> None:
        check(nbytes - os.fstat(file).st_size)
        fallocate(file, offset, nbytes)

    patched.setattr(os, "pwritev", counted_pwritev)
    patched.setattr(os, "posix_fallocate", counted_fallocate)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if mounted(folder):
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        count_bytes(folder, monkeypatch)
        yield folder


def fill(store: ColdBlobs) -> list[str]:
    """Store small values until there is no room for one more; their keys."""
    keys: list[str] = []
    for nbytes in (50_000, 1000, 0):
        while True:
            try:
                store.put(blob(f"fill {len(keys)}", noise(nbytes, len(keys))))
            except StorageFull:
                break
            keys.append(f"fill {len(keys)}")
    return keys


def mark(key: str) -> Blob:
    """What a cluster leaves of a key that was deleted."""
    return Blob(Record(key=key, version=Version(1, 2), tombstone=True), ())


def test_deletions_make_room_on_a_full_disk(small_disk: Path) -> None:
    with closing(ColdBlobs(small_disk)) as store:
        store.put_many([blob("one", noise(LARGE)), blob("two", noise(LARGE, 1))])
        keys = fill(store)
        for _ in range(2):
            with pytest.raises(StorageFull):
                store.put(blob("three", noise(LARGE, 2)))
        store.put(mark("one"))
        assert store.remove("two")
        assert store.remove_many(keys[:5]) == 5
        store.put(blob("three", noise(LARGE, 2)))
    with closing(ColdBlobs(small_disk)) as store:
        assert store.get("one").record.tombstone
        assert set(store.keys()) == {"one", "three", *keys[5:]}
        assert content_of(store, "three") == noise(LARGE, 2)
        assert content_of(store, keys[6]) == noise(50_000, 6)


def test_thousands_of_keys_can_be_deleted_before_any_room_comes_of_it(small_disk: Path) -> None:
    keys = [f"key {number}" for number in range(4000)]
    with closing(ColdBlobs(small_disk)) as store:
        store.put_many([blob(key, b"") for key in keys])
        fill(store)
        assert sum(store.remove(key) for key in keys) == len(keys)


def test_the_room_is_kept_back_again_when_there_is_some(small_disk: Path) -> None:
    with closing(ColdBlobs(small_disk)) as store:
        for _ in range(3):
            store.put_many([blob(f"large {number}", noise(LARGE)) for number in range(6)])
            keys = fill(store)
            store.clear()
        assert keys
        assert not list(store.keys())
        store.put(blob("small", b"small"))
        assert (small_disk / "reserve").stat().st_size == 1 << 20


def test_values_do_not_use_what_is_kept_back(small_disk: Path) -> None:
    with closing(ColdBlobs(small_disk)) as store:
        store.put_many([blob(f"empty {number}", b"") for number in range(10)])
        fill(store)
        with pytest.raises(StorageFull):
            store.put_many([blob(f"more {number}", b"") for number in range(2000)])
        assert (small_disk / "reserve").stat().st_size == 1 << 20


def test_a_disk_notes_a_new_epoch_although_it_is_full(small_disk: Path) -> None:
    disk = Disk(small_disk)

    def noted() -> int:
        return int(json.loads((disk.folder / "member.json").read_text())["epoch"])

    with closing(ColdBlobs(disk.folder / "cold")) as store:
        fill(store)
        disk.raise_epoch(7)
        with largest_file(3), pytest.raises(OSError, match="too large"):
            disk.raise_epoch(8)
        assert noted() == 7
        disk.raise_epoch(8)  # it was not noted, so it is tried again
        assert noted() == 8


def test_of_epochs_noted_at_the_same_time_the_newest_stays(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for turn in range(0, 400, 8):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(disk.raise_epoch, range(turn + 8, turn, -1)))
        noted = json.loads((disk.folder / "member.json").read_text())["epoch"]
        assert noted == disk.epoch == turn + 8
