"""What warm memory adds to the contract of every tier: pools, documents, shared memory."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil
import pytest

from memories.errors import (
    CapacityExceeded,
    CorruptData,
    InvalidType,
    InvalidValue,
    KeyNotFound,
    PickleRefused,
)
from memories.tiers.machine import ram_bytes
from memories.tiers.shared_segment import Segment
from memories.tiers.warm import SharedHandle
from memories.tiers.warm_memory import WarmMemory
from tests.support.tier_values import VALUES, assert_same

MB = 10**6
GB = 10**9


def megabytes(count: float, fill: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(fill).integers(0, 256, int(count * MB), dtype=np.uint8)


def test_the_seed_block() -> None:
    vector_data = {"ids": [1, 2, 3], "vectors": np.random.default_rng(0).random((3, 8))}
    warm_memory = WarmMemory(size_gb=8)
    warm_memory.store("vector_data", vector_data)
    assert_same(warm_memory.retrieve("vector_data"), vector_data)
    warm_memory.allocate_pool("frequent_access", size_mb=500)
    metrics = warm_memory.get_metrics()
    assert metrics["pools"]["frequent_access"] == {
        "usage_percent": 0.0,
        "used_bytes": 0,
        "capacity_bytes": 500 * MB,
        "entries": 0,
    }


def test_the_seed_configuration() -> None:
    config: dict[str, Any] = {
        "size_gb": 2,
        "serialization_format": "pickle",
        "compression": "lz4",
        "shared_memory": False,
    }
    with WarmMemory(**config) as warm:
        warm.store("key", {"a": np.zeros(100_000)})
        assert_same(warm.retrieve("key"), {"a": np.zeros(100_000)})
        assert warm.used_bytes < 10_000
        assert warm.get_metrics()["raw_bytes"] > 800_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"size_gb": 0},
        {"size_gb": -1},
        {"size_gb": "8"},
        {"size_gb": float("nan")},
        {"serialization_format": "yaml"},
        {"compression": "gzip"},
        {"shared_memory": 1},
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidValue, InvalidType)):
        WarmMemory(**arguments)


def test_a_budget_above_the_machine_is_clamped_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match="smaller number"):
        warm = WarmMemory(size_gb=1_000_000)
    assert warm.capacity_bytes == ram_bytes() <= psutil.virtual_memory().total


def test_a_large_array_is_read_without_a_copy() -> None:
    with WarmMemory(1) as warm:
        warm.store("array", megabytes(2))
        assert np.shares_memory(warm.retrieve("array"), warm.retrieve("array"))
        assert np.shares_memory(warm.retrieve("array", start=5, end=9), warm.retrieve("array"))


def test_small_values_cost_what_they_really_take() -> None:
    with WarmMemory(1) as warm:
        tracemalloc.start()
        for number in range(2_000):
            warm.store(f"key {number}", number)
        taken_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.5 * taken_bytes < warm.used_bytes < 3 * taken_bytes


# Pools


def test_a_pool_reserves_its_room() -> None:
    with WarmMemory(10 * MB / GB) as warm:
        warm.allocate_pool("vip", size_mb=6)
        warm.store("outside", megabytes(3))
        with pytest.raises(CapacityExceeded, match="outside of its pools"):
            warm.store("more", megabytes(2))
        warm.store("inside", megabytes(5), pool="vip")
        with pytest.raises(CapacityExceeded, match="pool 'vip'"):
            warm.store("inside too", megabytes(2), pool="vip")
        vip = warm.get_metrics()["pools"]["vip"]
        assert vip["entries"] == 1
        assert 5 * MB <= vip["used_bytes"] <= 5 * MB + 2_000
        assert vip["usage_percent"] == pytest.approx(100 * 5 / 6, abs=0.1)
        assert warm.get_metrics()["entries"] == 2


def test_a_pool_takes_only_room_that_is_free() -> None:
    with WarmMemory(10 * MB / GB) as warm:
        warm.store("outside", megabytes(4))
        with pytest.raises(CapacityExceeded):
            warm.allocate_pool("large", size_mb=7)
        warm.allocate_pool("a", size_mb=3)
        with pytest.raises(CapacityExceeded):
            warm.allocate_pool("b", size_mb=3)
        warm.allocate_pool("a", size_mb=5)
        warm.store("in a", megabytes(4), pool="a")
        with pytest.raises(CapacityExceeded):
            warm.allocate_pool("a", size_mb=3)
        assert list(warm.get_metrics()["pools"]) == ["a"]


def test_values_move_between_pools_when_they_are_stored_again() -> None:
    with WarmMemory(10 * MB / GB) as warm:
        warm.allocate_pool("a", size_mb=3)
        warm.allocate_pool("b", size_mb=3)
        warm.store("key", megabytes(2), pool="a")
        warm.store("key", megabytes(2), pool="b")
        pools = warm.get_metrics()["pools"]
        assert (pools["a"]["entries"], pools["b"]["entries"]) == (0, 1)
        assert pools["a"]["used_bytes"] == 0
        warm.store("key", megabytes(2))
        assert warm.get_metrics()["pools"]["b"]["used_bytes"] == 0
        warm.store("again", megabytes(2), pool="b")
        warm.delete("again")
        assert warm.get_metrics()["pools"]["b"]["used_bytes"] == 0


def test_eviction_stays_within_the_pool() -> None:
    with WarmMemory(10 * MB / GB, on_full="evict") as warm:
        warm.allocate_pool("vip", size_mb=4)
        warm.store("outside", megabytes(5))
        warm.store("vip 1", megabytes(1.5), pool="vip")
        warm.store("vip 2", megabytes(1.5), pool="vip")
        warm.retrieve("vip 1")
        warm.store("vip 3", megabytes(1.5), pool="vip")
        assert sorted(warm.keys()) == ["outside", "vip 1", "vip 3"]
        warm.store("outside 2", megabytes(5))
        assert sorted(warm.keys()) == ["outside 2", "vip 1", "vip 3"]
        with pytest.raises(CapacityExceeded):
            warm.store("vip 4", megabytes(4.5), pool="vip")


def test_a_freed_pool_gives_its_room_back_and_keeps_its_values() -> None:
    with WarmMemory(10 * MB / GB, on_full="evict") as warm:
        warm.allocate_pool("vip", size_mb=6)
        warm.store("inside", megabytes(4), pool="vip")
        warm.free_pool("vip")
        assert warm.get_metrics()["pools"] == {}
        assert_same(warm.retrieve("inside"), megabytes(4))
        warm.store("large", megabytes(9))
        assert list(warm.keys()) == ["large"]
        with pytest.raises(InvalidValue):
            warm.free_pool("vip")


@pytest.mark.parametrize("size", [0, -1, float("nan"), "500", True, None])
def test_a_pool_needs_a_real_size(size: Any) -> None:
    with WarmMemory(1) as warm, pytest.raises((InvalidType, InvalidValue)):
        warm.allocate_pool("pool", size_mb=size)


def test_an_unknown_pool_is_an_error_and_stores_nothing() -> None:
    with WarmMemory(1) as warm:
        with pytest.raises(InvalidValue, match="allocate_pool"):
            warm.store("key", 1, pool="absent")
        assert len(warm) == 0


# Documents


@pytest.mark.parametrize(
    ("serialization_format", "read"),
    [
        ("json", lambda document: json.loads(document)),
        ("msgpack", lambda document: msgpack.unpackb(document)),
        ("pickle", lambda document: pickle.loads(document)),
    ],
)
def test_other_tools_read_the_documents(serialization_format: str, read: Callable[[bytes], Any]) -> None:
    plain = {"name": "run 7", "scores": [1, 2.5, None], "nested": {"ok": True}}
    with WarmMemory(1, serialization_format=serialization_format, compression="zstd") as warm:
        warm.store("run", plain)
        assert read(warm.document("run")) == plain


def test_without_a_format_there_is_no_document() -> None:
    with WarmMemory(1) as warm:
        warm.store("key", 1)
        with pytest.raises(InvalidValue, match="serialization_format"):
            warm.document("key")


def test_what_pickle_cannot_hold_is_refused_and_stores_nothing() -> None:
    with WarmMemory(1, serialization_format="pickle") as warm:
        with pytest.raises(InvalidType, match="memoryview"):
            warm.store("view", memoryview(b"abc"))
        assert len(warm) == 0


def test_a_set_comes_back_from_a_document() -> None:
    for serialization_format in ("json", "msgpack", "pickle"):
        with WarmMemory(1, serialization_format=serialization_format) as warm:
            value = {"words": {f"word {i}" for i in range(50)}}
            warm.store("set", value)
            assert warm.retrieve("set") == value
            assert warm.get_blob("set").record.lengths == tuple(map(len, warm.get_blob("set").buffers))


# Shared memory


def _read_in_child(handle: SharedHandle, queue: Any) -> None:
    value = handle.open()
    queue.put((float(value["x"].sum()), value["x"].flags.writeable, value["name"]))


@pytest.mark.parametrize("compression", ["none", pytest.param("lz4", marks=pytest.mark.slow)])
def test_another_process_opens_a_value_in_place(compression: str) -> None:
    x = np.arange(300_000, dtype=np.float64)
    context = multiprocessing.get_context("spawn")
    with WarmMemory(1, shared_memory=True, compression=compression) as warm:
        warm.store("value", {"x": x, "name": "shared"})
        queue = context.Queue()
        child = context.Process(target=_read_in_child, args=(warm.share("value"), queue))
        child.start()
        assert queue.get(timeout=60) == (x.sum(), False, "shared")
        child.join(60)
        # A reader that ends takes nothing with it.
        assert_same(warm.retrieve("value"), {"x": x, "name": "shared"})
        assert warm.share("value").open()["name"] == "shared"


def test_every_kind_of_value_can_be_shared() -> None:
    with WarmMemory(1, shared_memory=True) as warm:
        for name, make in VALUES.items():
            warm.store(name, make())
            assert_same(pickle.loads(pickle.dumps(warm.share(name))).open(), make())


def test_a_handle_ends_with_its_value() -> None:
    with WarmMemory(1, shared_memory=True) as warm:
        warm.store("value", megabytes(1))
        old = warm.share("value")
        view = old.open()
        warm.store("value", megabytes(1, 2))
        gc.collect()
        with pytest.raises(KeyNotFound, match="gone"):
            old.open()
        assert_same(view, megabytes(1))
        assert_same(warm.share("value").open(), megabytes(1, 2))


def test_damage_in_shared_memory_is_seen() -> None:
    with WarmMemory(1, shared_memory=True) as warm:
        warm.store("value", megabytes(1))
        handle = warm.share("value")
        with open(f"/dev/shm/{handle.segment}", "r+b") as file:
            file.seek(1_000)
            file.write(b"damage")
        with pytest.raises(CorruptData):
            handle.open()


def test_a_shared_pickle_is_not_opened_unasked() -> None:
    with WarmMemory(1, shared_memory=True, serialization_format="pickle") as warm:
        warm.store("value", [1, 2])
        with pytest.raises(PickleRefused):
            warm.share("value").open()
        assert warm.share("value").open(allow_pickle=True) == [1, 2]


def test_sharing_needs_shared_memory() -> None:
    with WarmMemory(1) as warm:
        warm.store("value", 1)
        with pytest.raises(InvalidValue, match="shared_memory=True"):
            warm.share("value")
        with pytest.raises(KeyNotFound):
            warm.share("absent")


def test_segments_go_with_their_values() -> None:
    before = set(os.listdir("/dev/shm"))
    warm = WarmMemory(1, shared_memory=True)
    warm.store("a", megabytes(1))
    warm.store("b", megabytes(1))
    assert len(set(os.listdir("/dev/shm")) - before) == 2
    warm.delete("a")
    gc.collect()
    assert len(set(os.listdir("/dev/shm")) - before) == 1
    warm.close()
    gc.collect()
    assert set(os.listdir("/dev/shm")) - before == set()


def test_a_segment_name_is_not_a_path() -> None:
    with pytest.raises(KeyNotFound):
        Segment.attach("../../etc/passwd")


@pytest.mark.slow
@pytest.mark.parametrize("end", ["return", "os.kill(os.getpid(), 9)"])
def test_segments_do_not_outlive_their_process(end: str, tmp_path: Path) -> None:
    script = (
        "import os, sys, numpy as np\n"
        "from memories.tiers.warm_memory import WarmMemory\n"
        "def main():\n"
        "    warm = WarmMemory(1, shared_memory=True)\n"
        "    warm.store('a', np.zeros(1000))\n"
        "    print(warm.share('a').segment, flush=True)\n"
        f"    {end}\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    segment = done.stdout.strip()
    assert segment
    assert "leaked" not in done.stderr or "kill" in end
    # The resource tracker is a process of its own: the pipe that run() waits for is closed after its work.
    assert segment not in os.listdir("/dev/shm")
