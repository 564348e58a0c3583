"""Snapshots of tiers: whole, of one moment, and restored all or not at all."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import CapacityExceeded, CorruptData, KeyNotFound, PickleRefused
from memories.tiers.hot_memory import HotMemory
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.snapshots import SnapshotReader
from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory
from tests.support.clock import ManualClock
from tests.support.tier_values import VALUES, assert_same


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tier(clock: ManualClock) -> Tier:
    return Tier(MemoryBlobs(), clock=clock)


def test_the_seed_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    hot_memory = HotMemory(size_gb=2, device="cpu")
    hot_memory.store("model_weights", torch.arange(6.0))
    hot_memory.create_snapshot("weights_snapshot")
    hot_memory.clear()
    assert hot_memory.restore_snapshot("weights_snapshot") == ["model_weights"]
    assert torch.equal(hot_memory.retrieve("model_weights"), torch.arange(6.0))


def test_every_value_moves_by_snapshot_from_tier_to_tier(
    tmp_path: Path, tier: Tier, clock: ManualClock
) -> None:
    path = tmp_path / "snapshot"
    for name, make in VALUES.items():
        tier.store(name, make(), metadata={"name": name}, priority=1.5, pin=name == "text")
    info = tier.create_snapshot(path, description="before the change")
    assert info.entries == len(VALUES)
    assert info.file_bytes == path.stat().st_size
    assert info.description == "before the change"
    assert info.created_s == clock.now_s
    assert list(tmp_path.iterdir()) == [path]
    for other in (Tier(MemoryBlobs()), WarmMemory(1, compression="lz4"), HotMemory(1, device="cpu")):
        assert sorted(other.restore_snapshot(path)) == sorted(VALUES)
        for name, make in VALUES.items():
            assert_same(other.retrieve(name), make())
            assert other.entry(name).metadata == {"name": name}
            assert other.entry(name).pinned == (name == "text")


def test_restoring_replaces_and_leaves_alone(tmp_path: Path, tier: Tier) -> None:
    tier.store_many({"a": 1, "b": 2})
    tier.create_snapshot(tmp_path / "snapshot")
    tier.store_many({"a": 10, "c": 30})
    newer = tier.entry("a").version
    assert sorted(tier.restore_snapshot(tmp_path / "snapshot")) == ["a", "b"]
    assert tier.retrieve_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 30}
    assert tier.entry("a").version > newer


def test_selected_keys_and_prefixes(tmp_path: Path, tier: Tier) -> None:
    tier.store_many({"run/1": 1, "run/2": 2, "other": 3})
    assert tier.create_snapshot(tmp_path / "snapshot", prefix="run/").entries == 2
    tier.clear()
    assert tier.restore_snapshot(tmp_path / "snapshot", keys=["run/2"]) == ["run/2"]
    assert sorted(tier.keys()) == ["run/2"]
    with pytest.raises(KeyNotFound):
        tier.restore_snapshot(tmp_path / "snapshot", keys=["run/1", "other"])
    assert sorted(tier.keys()) == ["run/2"]


def test_a_file_like_object(tier: Tier) -> None:
    tier.store("key", np.arange(10))
    file = io.BytesIO()
    tier.create_snapshot(file)
    assert not file.closed
    file.seek(0)
    tier.clear()
    tier.restore_snapshot(file)
    assert_same(tier.retrieve("key"), np.arange(10))


def test_expired_values_stay_away(tmp_path: Path, tier: Tier, clock: ManualClock) -> None:
    tier.store("brief", 1, ttl=10)
    tier.store("long", 2, ttl=100)
    clock.advance(5)
    assert tier.create_snapshot(tmp_path / "snapshot").entries == 2
    clock.advance(5)
    assert tier.create_snapshot(tmp_path / "later").entries == 1
    tier.clear()
    assert tier.restore_snapshot(tmp_path / "snapshot") == ["long"]
    clock.advance(90)
    assert len(tier) == 0


# Of one moment


class Interrupted(io.BytesIO):
    """A file in whose first write of a value somebody else changes the tier."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self._change = change
        self._writes = 0

    def write(self, data: Any) -> int:
        self._writes += 1
        if self._change is not None and self._writes > 3:
            change, self._change = self._change, None
            thread = threading.Thread(target=change)
            thread.start()
            self.thread = thread
        return super().write(data)


def test_changes_during_a_snapshot_are_not_in_it(tier: Tier) -> None:
    megabyte = np.zeros(2**20, np.uint8)
    for number in range(8):
        tier.store(f"k{number}", megabyte + number, metadata={"number": number})
    done = threading.Event()

    def change() -> None:
        tier.store("k7", "replaced")
        tier.delete("k6")
        tier.set_metadata("k5", {"number": -1})
        tier.store_many({"new": 1, "k4": "replaced"})
        tier.clear()
        done.set()

    file = Interrupted(change)
    tier.create_snapshot(file)
    file.thread.join(60)
    assert done.is_set()
    assert len(tier) == 0
    with SnapshotReader(io.BytesIO(file.getvalue())) as snapshot:
        assert sorted(record.key for record in snapshot.records()) == [f"k{number}" for number in range(8)]
        for blob in snapshot.blobs():
            number = int(blob.record.key[1:])
            assert blob.buffers[0][0] == number
            assert blob.record.metadata == {"number": number}


def test_several_values_stored_together_are_in_a_snapshot_together(tier: Tier) -> None:
    """Each round stores ten values at once; a snapshot that saw half a round would hold two numbers."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            tier.store_many({f"k{i}": number for i in range(10)})

    tier.store_many({f"k{i}": 0 for i in range(10)})
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            file = io.BytesIO()
            tier.create_snapshot(file)
            file.seek(0)
            other = Tier(MemoryBlobs())
            other.restore_snapshot(file)
            assert len(set(other.retrieve_many(other.keys()).values())) == 1
    finally:
        stop.set()
        writer.join()


# All or nothing


def test_a_damaged_snapshot_changes_nothing(tmp_path: Path, tier: Tier) -> None:
    tier.store("key", np.arange(1_000))
    path = tmp_path / "snapshot"
    tier.create_snapshot(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    tier.store("key", "newer")
    with pytest.raises(CorruptData):
        tier.restore_snapshot(path)
    assert tier.retrieve("key") == "newer"
    with pytest.raises(FileNotFoundError):
        tier.restore_snapshot(tmp_path / "absent")


def test_a_snapshot_that_does_not_fit_changes_nothing(tmp_path: Path, tier: Tier) -> None:
    tier.store_many({f"k{i}": bytes(1_000) for i in range(10)})
    path = tmp_path / "snapshot"
    tier.create_snapshot(path)
    small = Tier(MemoryBlobs(), capacity_bytes=8_000)
    small.store("old", bytes(2_000))
    with pytest.raises(CapacityExceeded):
        small.restore_snapshot(path)
    assert list(small.keys()) == ["old"]
    assert len(small.restore_snapshot(path, keys=["k1", "k2"])) == 2
    evicting = Tier(MemoryBlobs(), capacity_bytes=8_000, on_full="evict")
    evicting.restore_snapshot(path)
    assert 0 < len(evicting) < 10


class Custom:
    pass


def test_pickles_need_permission(tmp_path: Path, tier: Tier) -> None:
    tier.store_many({"plain": 1, "custom": Custom()})
    path = tmp_path / "snapshot"
    tier.create_snapshot(path)
    tier.clear()
    with pytest.raises(PickleRefused):
        tier.restore_snapshot(path)
    assert len(tier) == 0
    assert tier.restore_snapshot(path, keys=["plain"]) == ["plain"]
    assert len(tier.restore_snapshot(path, allow_pickle=True)) == 2
    assert type(tier.retrieve("custom")) is Custom
    strict = Tier(MemoryBlobs(), allow_pickle=False)
    with pytest.raises(PickleRefused):
        strict.restore_snapshot(path, allow_pickle=True)
    assert len(strict) == 0


class FullDisk(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() > 1_000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_snapshot_that_fails_leaves_the_tier_and_the_old_file(tmp_path: Path, tier: Tier) -> None:
    tier.store("key", np.random.default_rng(0).bytes(3_000_000))
    path = tmp_path / "snapshot"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        tier.create_snapshot(FullDisk())
    assert tier._captures == []
    tier.store("key", 2)
    with pytest.raises(NotADirectoryError):
        tier.create_snapshot(path / "inside a file")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
