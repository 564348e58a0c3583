"""A disk without room refuses values, and takes deletions: they are what makes room again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from memories.errors import StorageFull
from memories.tiers.blobs import Blob
from memories.tiers.cold import ColdBlobs, log
from memories.tiers.record import Record, Version
from tests.support.small_disk import small_disk
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, noise

DISK_BYTES = 4 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK_BYTES):
        yield tmp_path / "disk"


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


def test_deletions_make_room_on_a_full_disk(folder: Path) -> None:
    with closing(ColdBlobs(folder)) as store:
        store.put_many([blob("one", noise(LARGE)), blob("two", noise(LARGE, 1))])
        keys = fill(store)
        for _ in range(2):
            with pytest.raises(StorageFull):
                store.put(blob("three", noise(LARGE, 2)))
        store.put(mark("one"))
        assert store.remove("two")
        assert store.remove_many(keys[:5]) == 5
        store.put(blob("three", noise(LARGE, 2)))
    with closing(ColdBlobs(folder)) as store:
        assert store.get("one").record.tombstone
        assert set(store.keys()) == {"one", "three", *keys[5:]}
        assert content_of(store, "three") == noise(LARGE, 2)
        assert content_of(store, keys[6]) == noise(50_000, 6)


def test_thousands_of_keys_can_be_deleted_before_any_room_comes_of_it(folder: Path) -> None:
    keys = [f"key {number}" for number in range(4000)]
    with closing(ColdBlobs(folder)) as store:
        store.put_many([blob(key, b"") for key in keys])
        fill(store)
        assert sum(store.remove(key) for key in keys) == len(keys)


def fill_with(store: ColdBlobs, nbytes: int) -> list[str]:
    """Store equal values until there is no room for more; their keys."""
    keys: list[str] = []
    with suppress(StorageFull):
        while True:
            more = [f"key {len(keys) + number}" for number in range(max(1, 50_000 // nbytes))]
            store.put_many([blob(key, noise(nbytes)) for key in more])
            keys += more
    return keys


@pytest.mark.parametrize("nbytes", [100, 1000, 40_000])
@pytest.mark.parametrize("order", ["oldest first", "newest first", "at random"])
def test_a_disk_full_of_small_values_can_be_emptied_one_by_one(
    folder: Path, nbytes: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie in segments, whose room comes back only when they are compacted, which needs room as well.
    And whatever comes free, a writer tries to take at once."""
    monkeypatch.setattr(log, "SEGMENT_BYTES", 256 << 10)
    with closing(ColdBlobs(folder)) as store:
        keys = fill_with(store, nbytes)
        if order != "oldest first":
            keys.reverse()
        if order == "at random":
            random.Random(0).shuffle(keys)
        stored = {}
        for number, key in enumerate(keys[:-10]):
            assert store.remove(key)
            if number % 10 == 0:
                with suppress(StorageFull):
                    store.put(blob(f"new {number}", noise(nbytes, 1)))
                    stored[f"new {number}"] = noise(nbytes, 1)
        expected = {**dict.fromkeys(keys[-10:], noise(nbytes)), **stored}
        assert len(stored) > len(keys) // 50
    for _ in range(2):
        with closing(ColdBlobs(folder)) as store:
            assert store.damage == []
            assert {key: content_of(store, key) for key in set(store.keys())} == expected
            store.compact()


def test_a_full_disk_can_be_cleared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SEGMENT_BYTES", 256 << 10)
    with closing(ColdBlobs(folder)) as store:
        for _ in range(3):
            assert len(fill_with(store, 300)) > 1000
            store.clear()
            assert not list(store.keys())
    used = sum(path.stat().st_blocks * 512 for path in (folder / "segments").iterdir())
    assert used < 64 << 10
    with closing(ColdBlobs(folder)) as store:
        assert not list(store.keys())


def test_values_do_not_use_what_is_kept_back(folder: Path) -> None:
    with closing(ColdBlobs(folder)) as store:
        store.put_many([blob(f"empty {number}", b"") for number in range(10)])
        fill(store)
        kept = (folder / "reserve").stat().st_size
        with pytest.raises(StorageFull):
            store.put_many([blob(f"more {number}", b"") for number in range(2000)])
        assert (folder / "reserve").stat().st_size == kept > 1 << 20
