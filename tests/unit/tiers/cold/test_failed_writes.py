"""Writes that fail half-way leave every key as it was, before the next start and after it."""

from __future__ import annotations

import errno
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from memories.errors import StorageFull, Unavailable
from memories.tiers.blobs import Blob
from memories.tiers.cold import ColdBlobs, log
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, largest_file, noise


def committed_together(store: ColdBlobs, blobs: list[Blob]) -> list[BaseException | None]:
    """Store each blob in a thread of its own, all in one group; returns what each thread raised."""
    with ThreadPoolExecutor(len(blobs)) as pool:
        with store._commits.lock:
            stored = []
            for number, each in enumerate(blobs, start=1):
                stored.append(pool.submit(store.put, each))
                deadline = time.monotonic() + 20
                while len(store._commits._queue) < number:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
        return [future.exception() for future in stored]


def check(folder: Path, store: ColdBlobs, expected: dict[str, bytes]) -> None:
    """The store holds this and nothing else, now and when it is opened again; closes it."""
    for _ in range(2):
        assert {key: content_of(store, key) for key in set(store.keys())} == expected
        assert store.damage == []
        large = [content for content in expected.values() if len(content) == LARGE]
        assert len(list((folder / "values").iterdir())) == len(large)
        store.close()
        store = ColdBlobs(folder)
    store.close()


def test_a_large_value_whose_group_has_no_room_is_stored_by_itself(tmp_path: Path) -> None:
    fill = {f"fill {number}": noise(60_000, number) for number in range(6)}
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("large", noise(LARGE)), blob("small", b"old")])
        store.put_many([blob(key, content) for key, content in fill.items()])
        with largest_file(store._log.active.nbytes + 4096):
            errors = committed_together(store, [blob("large", noise(LARGE, 1)), blob("small", noise(50_000))])
        assert errors[0] is None
        assert isinstance(errors[1], StorageFull)
        check(tmp_path, store, {**fill, "large": noise(LARGE, 1), "small": b"old"})


def test_a_group_for_none_of_which_there_is_room_changes_nothing(tmp_path: Path) -> None:
    fill = {f"fill {number}": noise(60_000, number) for number in range(6)}
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("large", noise(LARGE)), blob("other", b"old")])
        store.put_many([blob(key, content) for key, content in fill.items()])
        with largest_file(store._log.active.nbytes + 10):
            errors = committed_together(store, [blob("large", noise(LARGE, 1)), blob("other", noise(LARGE))])
        assert [type(error) for error in errors] == [StorageFull, StorageFull]
        check(tmp_path, store, {**fill, "large": noise(LARGE), "other": b"old"})


def second_rename_fails(patched: pytest.MonkeyPatch) -> None:
    rename, calls = os.rename, iter(range(100))

    def failing(*arguments: Any) -> None:
        if next(calls) == 1:
            raise OSError(errno.EIO, "injected")
        rename(*arguments)

    patched.setattr(os, "rename", failing)


def renames_fail_from_the_second_on(patched: pytest.MonkeyPatch) -> None:
    rename, calls = os.rename, iter(range(100))

    def failing(*arguments: Any) -> None:
        if next(calls) >= 1:
            raise OSError(errno.EIO, "injected")
        rename(*arguments)

    patched.setattr(os, "rename", failing)


def folders_cannot_be_synced(patched: pytest.MonkeyPatch, after: int = 0) -> None:
    fsync, calls = os.fsync, iter(range(100))

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) and next(calls) >= after:
            raise OSError(errno.EIO, "injected")
        fsync(descriptor)

    patched.setattr(os, "fsync", failing)


@pytest.mark.parametrize(
    "fails", [second_rename_fails, renames_fail_from_the_second_on, folders_cannot_be_synced]
)
def test_files_that_cannot_all_be_named_leave_no_name_behind(
    tmp_path: Path, fails: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("a", noise(LARGE)), blob("b", b"old")])
        with pytest.MonkeyPatch.context() as patched:
            fails(patched)
            with pytest.raises(Unavailable, match="injected"):
                store.put_many([blob("a", noise(LARGE, 1)), blob("b", noise(LARGE, 2))])
        check(tmp_path, store, {"a": noise(LARGE), "b": b"old"})


@contextmanager
def free_descriptors(number: int) -> Iterator[None]:
    """This process may open so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = []
    for _ in range(number + 1):
        free.append(os.open(os.devnull, os.O_RDONLY))
    for descriptor in free:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("descriptors", [0, 1, 2])
def test_a_segment_that_could_not_be_started_is_started_later(
    tmp_path: Path, descriptors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_BYTES", 10_000)
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("first", noise(20_000)))
        with free_descriptors(descriptors), pytest.raises(Unavailable, match="Too many open files"):
            store.put(blob("second", b"refused"))
        assert len(list((tmp_path / "segments").iterdir())) == 2
        store.put(blob("second", b"stored"))
        check(tmp_path, store, {"first": noise(20_000), "second": b"stored"})


@pytest.mark.parametrize("synced", range(6))
def test_a_compaction_that_stops_half_way_brings_nothing_back(
    tmp_path: Path, synced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails after so many syncs of folders, and is well again when compaction is tried again."""
    monkeypatch.setattr(log, "SEGMENT_BYTES", 10_000)
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("deleted", noise(9_000)), blob("kept", noise(9_000, 1))])
        store.put(blob("next", b"in the second segment"))
        store.remove("deleted")
        with pytest.MonkeyPatch.context() as patched:
            folders_cannot_be_synced(patched, after=synced)
            with pytest.raises(Unavailable, match="injected"):
                store.compact()
        store.compact()
        check(tmp_path, store, {"kept": noise(9_000, 1), "next": b"in the second segment"})
