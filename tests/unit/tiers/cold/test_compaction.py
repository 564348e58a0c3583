"""What readers and the next start see of a compaction: nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memories.errors import CorruptData, KeyNotFound
from memories.tiers.cold import ColdBlobs
from memories.tiers.cold.index import Entry
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, noise


class Watched(dict[str, Entry]):
    """Entries out of which no key may go, and in which a damaged one may not become sound."""

    def pop(self, key: str, *_: Any) -> Entry:
        raise AssertionError(f"{key} is absent for a moment")

    def __setitem__(self, key: str, entry: Entry) -> None:
        assert entry.damage == self[key].damage
        assert entry is not self[key], "an entry that somebody may be reading was changed"
        super().__setitem__(key, entry)


def test_a_key_is_never_absent_while_it_is_moved(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("file", noise(LARGE)), blob("small", b"small"), blob("bad", noise(LARGE, 1))])
        for key in ("file", "small"):
            record = store.record(key)
            assert record is not None
            store.update(record.replace(priority=3.0))
        bad = next(path for path in tmp_path.rglob("*.arrow") if noise(LARGE, 1) in path.read_bytes())
        bad.write_bytes(b"damaged")
        with pytest.raises(CorruptData):
            store.get("bad")
        entries = dict(store._index.entries)
        frames = {key: entry.frame for key, entry in entries.items()}
        used = store.used_bytes
        store._index.entries = Watched(entries)
        store.compact()
        assert {key: entry.frame for key, entry in entries.items()} == frames
        assert store._index.entries.keys() == entries.keys()
        assert not any(store._index.entries[key].frame == frames[key] for key in frames)
        # The frame of the updated small value and that of its buffers have become one.
        assert 0 < used - store.used_bytes < 500
        assert content_of(store, "file") == noise(LARGE)
        assert content_of(store, "small") == b"small"


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[ColdBlobs]:
    """A store with a large value, "bad", whose file was found to be damaged and is set aside."""
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("bad", noise(LARGE)), blob("good", b"good")])
        (file,) = tmp_path.rglob("*.arrow")
        file.write_bytes(b"damaged")
        with pytest.raises(CorruptData):
            store.get("bad")
        yield store


def keys_after_restarts(store: ColdBlobs) -> set[str]:
    """What there is after two compactions and restarts, all of it readable."""
    for _ in range(2):
        store.compact()
        store.close()
        store = ColdBlobs(store.path)
    with closing(store):
        with pytest.raises(KeyNotFound):
            store.get("bad")
        assert store.damage == []
        return {key for key in set(store.keys()) if content_of(store, key)}


def test_a_damaged_value_that_was_deleted_stays_deleted(damaged: ColdBlobs) -> None:
    assert damaged.remove("bad")
    assert keys_after_restarts(damaged) == {"good"}


@pytest.mark.parametrize("content", [b"small", noise(LARGE, 1)], ids=["small", "large"])
def test_a_damaged_value_that_was_stored_again_and_deleted_stays_deleted(
    damaged: ColdBlobs, content: bytes
) -> None:
    for _ in range(50):
        damaged.put(blob("bad", content))
        assert damaged.remove("bad")
    damaged.compact()
    on_disk = sum(path.stat().st_size for path in damaged.path.rglob("*.segment"))
    assert on_disk < 1000, "of the deletions of a key one is enough"
    assert keys_after_restarts(damaged) == {"good"}


def test_a_damaged_value_that_was_stored_again_is_there(damaged: ColdBlobs) -> None:
    damaged.remove("bad")
    damaged.put(blob("bad", b"again"))
    damaged.compact()
    damaged.close()
    with closing(ColdBlobs(damaged.path)) as store:
        assert content_of(store, "bad") == b"again"


def test_a_deleted_file_that_could_not_be_removed_does_not_come_back(tmp_path: Path) -> None:
    def failing(path: Path, **_: Any) -> None:
        raise OSError(errno.EIO, "injected", str(path))

    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("bad", noise(LARGE)), blob("good", b"good")])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "unlink", failing)
            assert store.remove("bad")
        assert keys_after_restarts(store) == {"good"}
        assert not list(tmp_path.rglob("*.arrow"))
