"""What readers and the next start see of a compaction: nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memories.errors import CorruptData
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
