"""What every tier promises, whatever is under it: one suite over all of them.

Values and keys have a file of their own, and so have budgets. A new tier, file format or provider is one more
case in `tests.support.tiers`.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import (
    Closed,
    InvalidKey,
    InvalidType,
    InvalidValue,
    KeyNotFound,
)
from memories.tiers.tier import Tier
from tests.support.clock import ManualClock
from tests.support.tier_values import VALUES, assert_same
from tests.support.tiers import TierCase

from .conftest import KB, block, only_durable

# Metadata, priority, pins


def test_metadata_is_kept_and_copied(tier: Tier) -> None:
    metadata: dict[str, Any] = {
        "location": "San Francisco",
        "n": 3,
        "x": 1.5,
        "ok": True,
        "none": None,
        "tags": ["a", {"deep": [1]}],
    }
    tier.store("image", 1, metadata=metadata)
    metadata["tags"].append("later")
    assert tier.entry("image").metadata["tags"] == ["a", {"deep": [1]}]
    tier.set_metadata("image", {"location": "Oslo"})
    assert tier.entry("image").metadata == {"location": "Oslo"}
    assert tier.retrieve("image") == 1


def test_queries_follow_every_change(tier: Tier, clock: ManualClock) -> None:
    def places(*keys: str) -> None:
        assert sorted(tier.query({"place": "Oslo", "year": {"$gte": 2020}})) == sorted(keys)

    tier.store("a", 1, metadata={"place": "Oslo", "year": 2019})
    tier.store("b", 2, metadata={"place": "Oslo", "year": 2021})
    places("b")
    tier.store("c", 3, metadata={"place": "Oslo", "year": 2022}, ttl=10)
    tier.set_metadata("a", {"place": "Oslo", "year": 2025})
    places("a", "b", "c")
    assert tier.query({"place": "Oslo"}, sort="-year", limit=2) == ["a", "c"]
    tier.store("a", 1)
    places("b", "c")
    clock.advance(10)
    places("b")
    tier.delete("b")
    places()
    tier.store_many(
        [{"key": f"k{i}", "value": i, "metadata": {"place": "Oslo", "year": 2020 + i}} for i in range(3)]
    )
    places("k0", "k1", "k2")
    tier.clear()
    places()
    with pytest.raises((InvalidType, InvalidValue)):
        tier.query({"year": {"$above": 1}})


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": math.nan},
        {"x": [math.inf]},
        {"x": object()},
        {"x": np.arange(3)},
        {7: "x"},
        {"a": {7: "x"}},
        {"x": 2**64},
        {"x": {1, 2}},
        {"x": b"bytes"},
        {"x": CIRCLE},
        ["not", "a", "mapping"],
        "text",
    ],
)
def test_metadata_that_is_not_like_json_is_refused(tier: Tier, metadata: Any) -> None:
    tier.store("old", 1, metadata={"kept": True})
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store("old", 2, metadata=metadata)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.set_metadata("old", metadata)
    assert tier.retrieve("old") == 1
    assert tier.entry("old").metadata == {"kept": True}


@pytest.mark.parametrize(
    "arguments",
    [
        {"priority": math.nan},
        {"priority": math.inf},
        {"priority": -math.inf},
        {"priority": "high"},
        {"priority": True},
        {"priority": None},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": math.nan},
        {"ttl": math.inf},
        {"ttl": "5"},
        {"ttl": True},
        {"pin": 1},
        {"pin": "no"},
    ],
)
def test_arguments_that_cannot_be_are_refused(tier: Tier, arguments: dict[str, Any]) -> None:
    tier.store("old", 1)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store("old", 2, **arguments)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store_many([{"key": "new", "value": 1}, {"key": "old", "value": 2, **arguments}])
    assert tier.retrieve("old") == 1
    assert "new" not in tier


def test_priority_and_pin_are_kept(tier: Tier) -> None:
    tier.store("key", 1, priority=2.5, pin=True)
    assert tier.entry("key").priority == 2.5
    assert tier.entry("key").pinned
    assert not tier.unpin("key").pinned
    assert tier.pin("key").pinned
    assert tier.set_priority("key", -1).priority == -1.0
    assert tier.entry("key").pinned
    assert tier.retrieve("key") == 1


def test_several_items_in_every_form(tier: Tier) -> None:
    records = tier.store_many(
        [("a", 1), {"key": "b", "value": 2, "metadata": {"x": 1}, "priority": 3}, ("a", 4)]
    )
    assert [record.key for record in records] == ["a", "b", "a"]
    assert tier.retrieve_many(["a", "b"]) == {"a": 4, "b": 2}
    assert tier.entry("b").metadata == {"x": 1}
    assert tier.store_many([]) == []
    for wrong in (
        [1],
        "ab",
        [("a",)],
        [{"value": 1}],
        [{"key": "c", "value": 1, "colour": 2}],
        [{"key": "c"}],
        5,
    ):
        with pytest.raises((InvalidType, InvalidKey)):
            tier.store_many(wrong)  # type: ignore[arg-type]
    assert len(tier) == 2


# Time


def test_values_end_with_their_time_to_live(tier: Tier, clock: ManualClock) -> None:
    tier.store("short", 1, ttl=10)
    tier.store("long", 2, ttl=100)
    tier.store("forever", 3)
    clock.advance(9.5)
    assert tier.retrieve("short") == 1
    clock.advance(0.5)
    with pytest.raises(KeyNotFound):
        tier.retrieve("short")
    assert not tier.exists("short")
    assert sorted(tier.keys()) == ["forever", "long"]
    assert len(tier) == 2
    assert tier.delete("short") is False
    clock.advance(1_000)
    assert sorted(tier.keys()) == ["forever"]


def test_a_new_value_has_its_own_time_to_live(tier: Tier, clock: ManualClock) -> None:
    tier.store("key", 1, ttl=10)
    tier.store("key", 2)
    clock.advance(20)
    assert tier.retrieve("key") == 2
    tier.store("key", 3, ttl=5)
    tier.set_metadata("key", {"x": 1})
    clock.advance(5)
    assert "key" not in tier


def test_expired_values_free_their_bytes(tier: Tier, clock: ManualClock) -> None:
    tier.store("large", block(64), ttl=10)
    before = tier.used_bytes
    clock.advance(10)
    assert tier.expire() == 1
    assert tier.used_bytes <= before - 64 * KB
    assert tier.expire() == 0


# Moving blobs, metrics, threads, lifetime


def test_blobs_can_move_from_tier_to_tier(tier: Tier, clock: ManualClock, tmp_path: Path) -> None:
    from memories.tiers.memory_blobs import MemoryBlobs

    with Tier(MemoryBlobs(), clock=clock) as other:
        for name, make in VALUES.items():
            tier.store(name, make(), metadata={"name": name}, priority=3, ttl=50)
            other.put_blob(tier.get_blob(name))
            record = other.entry(name)
            assert record.version == tier.entry(name).version
            assert (record.metadata, record.priority) == ({"name": name}, 3)
            assert_same(other.retrieve(name), make())
        tier.clear()
        for name, make in VALUES.items():
            tier.put_blob(other.get_blob(name))
            assert_same(tier.retrieve(name), make())
        clock.advance(50)
        assert len(tier) == 0


def test_metrics_count_what_happened(tier: Tier) -> None:
    tier.store("a", block(10))
    tier.store_many({"b": 1, "c": 2})
    tier.retrieve("a")
    tier.retrieve("b")
    tier.retrieve_many(["b", "c"])
    with pytest.raises(KeyNotFound):
        tier.retrieve("absent")
    tier.delete("b")
    metrics = tier.get_metrics()
    expected = {
        "stores": 3,
        "hits": 4,
        "misses": 1,
        "hit_rate": 0.8,
        "deletes": 1,
        "entries": 2,
        "evictions": 0,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["bytes_in"] >= 10 * KB
    assert metrics["bytes_out"] >= 10 * KB
    assert metrics["used_bytes"] == tier.used_bytes >= 10 * KB
    assert metrics["capacity_bytes"] == tier.capacity_bytes


def test_threads_see_whole_values(tier: Tier) -> None:
    """Writers, readers and deleters of the same few keys: a value is always one that was stored."""
    keys = [f"k{i}" for i in range(4)]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for _ in range(25):
                key = keys[random.integers(4)]
                match random.integers(4):
                    case 0 | 1:
                        tier.store(key, np.full(2_000, seed), metadata={"seed": seed})
                    case 2:
                        try:
                            value = tier.retrieve(key)
                        except KeyNotFound:
                            continue
                        assert value.shape == (2_000,)
                        assert (value == value[0]).all()
                    case 3:
                        tier.delete(key)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(tier) == len(list(tier.keys())) <= 4


@only_durable
def test_durable_tiers_are_there_again(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock) as tier:
        for name, make in VALUES.items():
            tier.store(name, make(), metadata={"name": name}, priority=2, pin=True)
        tier.store("brief", 1, ttl=5)
        version = tier.entry("text").version
    clock.advance(5)
    with case.open(tmp_path, clock=clock) as tier:
        assert sorted(tier.keys()) == sorted(VALUES)
        for name, make in VALUES.items():
            assert_same(tier.retrieve(name), make())
            assert tier.entry(name).metadata == {"name": name}
            assert tier.entry(name).pinned
        tier.store("text", "newer")
        assert tier.entry("text").version > version


def test_a_closed_tier_says_so(case: TierCase, tmp_path: Path) -> None:
    with case.open(tmp_path) as tier:
        tier.store("key", 1)
        tier.close()
        tier.close()
        for call in (
            lambda: tier.store("key", 2),
            lambda: tier.retrieve("key"),
            lambda: tier.delete("key"),
            lambda: tier.exists("key"),
            lambda: list(tier.keys()),
            lambda: len(tier),
            lambda: tier.clear(),
            lambda: tier.entry("key"),
        ):
            with pytest.raises(Closed):
                call()


def test_a_snapshot_brings_everything_back(tier: Tier, tmp_path: Path) -> None:
    for name, make in VALUES.items():
        tier.store(name, make(), metadata={"name": name}, priority=2)
    path = tmp_path / "snapshot file"
    assert tier.create_snapshot(path, description="all").entries == len(VALUES)
    tier.clear()
    assert sorted(tier.restore_snapshot(path)) == sorted(VALUES)
    for name, make in VALUES.items():
        assert_same(tier.retrieve(name), make())
        assert (tier.entry(name).metadata, tier.entry(name).priority) == ({"name": name}, 2.0)
