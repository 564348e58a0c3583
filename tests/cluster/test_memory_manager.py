"""What a driver script expects of a memory on a cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.errors import (
    CapacityExceeded,
    Closed,
    InvalidKey,
    InvalidType,
    InvalidValue,
    KeyNotFound,
    NotEnoughNodes,
)

from .conftest import MB, wait_until


@pytest.fixture
def memory(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryManager]:
    monkeypatch.setenv("MEMORIES_HOME", str(tmp_path))  # where snapshots are kept
    manager = cluster.memory(timeout_s=30)
    yield manager
    manager.clear()
    manager.close()


@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
@pytest.mark.parametrize("shape", [(3,), (400, 500)], ids=["small", "large"])
def test_what_was_stored_comes_back_from_every_tier(
    memory: MemoryManager, tier: str, shape: tuple[int, ...]
) -> None:
    value = np.random.default_rng(0).random(shape)
    receipt = memory.store("key", value, tier=tier)
    back = memory.retrieve("key")
    assert back.dtype == value.dtype
    assert np.array_equal(back, value)
    assert memory.get_tier("key") == tier
    assert receipt.copies == 1
    assert receipt.durable == (tier == "cold")


def test_nested_values_come_back_as_they_were(memory: MemoryManager) -> None:
    value = {"a": [1, 2.5, None, "é"], "b": (np.arange(3), b"x"), "c": {"d": True}}
    memory.store("nested", value)
    back = memory.retrieve("nested")
    assert isinstance(back["b"], tuple)
    assert np.array_equal(back["b"][0], np.arange(3))
    assert back["a"] == value["a"]
    assert back["c"] == value["c"]


def test_a_read_on_the_same_node_is_a_view_of_shared_memory(memory: MemoryManager) -> None:
    value = np.zeros(MB)
    memory.store("view", value)
    first, second = memory.retrieve("view"), memory.retrieve("view")
    assert not first.flags.writeable
    assert np.shares_memory(first, second)
    mine = memory.retrieve("view", copy=True)
    mine[0] = 1
    assert first[0] == 0


def test_overwriting_and_deleting(memory: MemoryManager) -> None:
    memory.store("key", "old", tier="cold")
    memory.store("key", "new", tier="warm")
    assert memory.retrieve("key") == "new"
    assert memory.delete("key")
    assert not memory.delete("key")
    assert not memory.exists("key")
    with pytest.raises(KeyError, match="'key' is not stored"):
        memory.retrieve("key")


def test_many_keys_in_one_request(memory: MemoryManager) -> None:
    values = {f"many/{i}": np.full(16, i) for i in range(2_000)}
    memory.store_many(values)
    assert memory.keys("many/") == sorted(values)
    back = memory.retrieve_many(values)
    assert all(np.array_equal(back[key], value) for key, value in values.items())
    assert memory.delete_many(values) == 2_000
    assert memory.keys() == []


@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_some_rows_of_a_value(memory: MemoryManager, tier: str) -> None:
    value = np.arange(500_000).reshape(5_000, 100)
    memory.store("rows", value, tier=tier)
    assert np.array_equal(memory.retrieve("rows", partial=True, start=10, end=20), value[10:20])
    assert np.array_equal(memory.retrieve("rows", rows=[4_000, 7, 7]), value[[4_000, 7, 7]])


@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_some_rows_of_texts_lists_and_frames(memory: MemoryManager, tier: str) -> None:
    for key, value in (("short", "hello"), ("accents", "héllo" * 100), ("list", ["a", "b", "c", "d"])):
        memory.store(key, value, tier=tier)
        assert memory.retrieve(key, start=1, end=3) == value[1:3]
    assert memory.retrieve("list", rows=[3, 0]) == ["d", "a"]
    memory.store("frame", pd.DataFrame({"x": range(10), "y": list("abcdefghij")}), tier=tier)
    assert memory.retrieve("frame", start=8)["y"].tolist() == ["i", "j"]
    memory.store("dict", {"a": 1}, tier=tier)
    with pytest.raises(InvalidType, match="has no rows"):
        memory.retrieve("dict", start=1)
    with pytest.raises(InvalidValue, match="row 4"):
        memory.retrieve("list", rows=[4])
    for wrong in ({"start": "1"}, {"end": 1.5}, {"rows": [1.5]}):
        (given,) = wrong.values()
        with pytest.raises(InvalidType, match=re.escape(repr(given))):
            memory.retrieve("list", **wrong)  # type: ignore[arg-type]


def test_queries_see_every_tier_and_only_what_is_current(memory: MemoryManager) -> None:
    memory.store("a", 1, tier="hot", metadata={"city": "Rome", "date": "2025-02-15"})
    memory.store("b", 2, tier="cold", metadata={"city": "Rome", "date": "2024-02-15"})
    memory.store("c", 3, metadata={"city": "Oslo"})
    assert memory.query({"city": "Rome", "date": {"$gte": "2025-01-01"}}) == ["a"]
    assert memory.query({"city": "Rome"}, sort="date") == ["b", "a"]
    memory.store("a", 4, tier="warm", metadata={"city": "Oslo"})
    assert sorted(memory.query({"city": "Oslo"})) == ["a", "c"]
    memory.delete("c")
    assert memory.query({"city": "Oslo"}) == ["a"]


def test_moving_between_tiers(memory: MemoryManager) -> None:
    value = np.arange(100_000)
    memory.store("mover", value, tier="warm", metadata={"x": 1})
    for tier in ("cold", "hot", "warm"):
        memory.move("mover", tier)
        assert memory.get_tier("mover") == tier
        assert np.array_equal(memory.retrieve("mover"), value)
        assert memory.query({"x": 1}) == ["mover"]


def test_unread_hot_data_sinks_and_read_data_stays(memory: MemoryManager) -> None:
    memory.store("read", np.zeros(10), tier="hot")
    memory.store("unread", np.zeros(10), tier="hot")
    memory.retrieve("read")
    wait_until(lambda: memory.get_tier("unread") == "warm", 15)
    assert memory.get_tier("read") == "hot"


def test_more_than_hot_can_hold_sinks_under_pressure(memory: MemoryManager, cluster: Cluster) -> None:
    """Three times the budget of 200 MB goes through hot, and nothing fails or gets lost."""
    for i in range(15):
        memory.store(f"big/{i}", np.full(5 * MB, i, np.float64), tier="hot")
        used, capacity = cluster.status().tier_totals()["hot"]
        assert used <= capacity
    for i in range(15):
        assert memory.retrieve(f"big/{i}")[-1] == i


def test_a_value_larger_than_the_tier_is_refused_and_changes_nothing(memory: MemoryManager) -> None:
    memory.store("keep", 1, tier="hot")
    with pytest.raises(CapacityExceeded, match="no room for 'huge'"):
        memory.store("huge", np.zeros(30 * MB), tier="hot")
    assert memory.retrieve("keep") == 1
    assert not memory.exists("huge")


def test_more_copies_than_nodes_is_an_error_unless_degraded(memory: MemoryManager) -> None:
    with pytest.raises(NotEnoughNodes, match="allow_degraded"):
        memory.store("two", 1, replicas=2)
    assert not memory.exists("two")
    assert memory.store("two", 1, replicas=2, allow_degraded=True).copies == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": ""}, InvalidKey),
        ({"key": "k", "tier": "lukewarm"}, InvalidValue),
        ({"key": "k", "priority": float("nan")}, InvalidValue),
        ({"key": "k", "ttl": 0}, InvalidValue),
        ({"key": "k", "replicas": 0}, InvalidValue),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    memory: MemoryManager, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        memory.store(**{"value": 1, **arguments})  # type: ignore[arg-type]
    assert memory.keys() == []


def test_time_to_live_ends(memory: MemoryManager) -> None:
    memory.store("short", 1, ttl=0.5)
    assert memory.exists("short")
    wait_until(lambda: not memory.exists("short"), 10)
    with pytest.raises(KeyNotFound):
        memory.retrieve("short")


def test_a_second_driver_shares_the_memory_and_its_values_outlive_it(
    memory: MemoryManager, cluster: Cluster
) -> None:
    """What a driver put is held by the tier actor's view, not by the driver."""
    code = f"""
import numpy as np, memories
with memories.connect("auto", name={cluster.name!r}) as cluster:
    cluster.memory().store("theirs", np.arange(1_000_000))
"""
    import ray

    env = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    import os

    done = subprocess.run([sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(memory.retrieve("theirs"), np.arange(1_000_000))


def test_a_closed_memory_says_so(cluster: Cluster) -> None:
    manager = cluster.memory()
    manager.close()
    with pytest.raises(Closed):
        manager.store("k", 1)


def test_compressing_the_cold_tier_keeps_the_values(memory: MemoryManager) -> None:
    values = {f"zeros/{i}": np.full(50_000, i) for i in range(5)}
    memory.store_many(values, tier="cold")
    sizes = memory.compress(tier="cold", compression_level=5)
    assert sizes["after_bytes"] < sizes["before_bytes"] / 10
    for key, value in values.items():
        assert np.array_equal(memory.retrieve(key), value)


def test_a_snapshot_brings_everything_back(memory: MemoryManager) -> None:
    values = {f"snap/{i}": np.arange(i * 1_000) for i in range(8)}
    memory.store_many(values, metadata={key: {"i": i} for i, key in enumerate(values)}, tier="hot")
    memory.store("durable", b"x" * 300_000, durable=True, priority=3)
    identity = memory.create_snapshot(description="all")
    assert [(s.id, s.description, s.keys) for s in memory.list_snapshots()] == [(identity, "all", 9)]
    memory.clear()
    assert memory.restore_snapshot(identity, keys=["snap/3"]) == ["snap/3"]
    assert memory.keys() == ["snap/3"]
    memory.restore_snapshot(identity)
    assert memory.retrieve("durable") == b"x" * 300_000
    assert memory.get_tier("durable") == "warm"
    assert memory.query({"i": 5}) == ["snap/5"]
    for key, value in values.items():
        assert np.array_equal(memory.retrieve(key), value)


def test_a_reader_may_accept_a_bounded_staleness(memory: MemoryManager, cluster: Cluster) -> None:
    memory.store("stale", np.arange(8))
    assert memory.retrieve("stale", max_staleness_s=60)[7] == 7
    with_other = cluster.memory()
    with_other.store("stale", np.arange(8) + 100)
    assert memory.retrieve("stale", max_staleness_s=60)[7] == 7
    assert memory.retrieve("stale", max_staleness_s=0)[7] == 107
    assert memory.retrieve("stale")[7] == 107
    memory.store("stale", np.arange(8) + 200)
    assert memory.retrieve("stale", max_staleness_s=60)[7] == 207
    memory.delete("stale")
    with pytest.raises(KeyNotFound):
        memory.retrieve("stale", max_staleness_s=60)
    with_other.close()


def test_a_pinned_key_stays_in_hot_unread(memory: MemoryManager) -> None:
    memory.store("pinned", 1, tier="hot")
    memory.pin("pinned")
    memory.store("free", 2, tier="hot")
    wait_until(lambda: memory.get_tier("free") == "warm", 15)
    assert memory.get_tier("pinned") == "hot"
    memory.unpin("pinned")
    wait_until(lambda: memory.get_tier("pinned") == "warm", 15)
    with pytest.raises(KeyNotFound):
        memory.pin("absent")
