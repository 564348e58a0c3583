"""A snapshot of the whole cluster is one moment, although writers go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE
from memories.tiers.codec import decode
from memories.tiers.snapshots import SnapshotReader

from .conftest import wait_until

STEPS = 500
PAIRS = 300
TOTAL = 1_000


@pytest.fixture
def memory(cluster: Cluster) -> Iterator[MemoryManager]:
    manager = cluster.memory(timeout_s=60)
    yield manager
    manager.clear()
    manager.close()


def values_of(path: Path) -> dict[str, np.ndarray]:
    with SnapshotReader(path, allow_pickle=False) as snapshot:
        return {
            blob.record.key: decode(blob.record.header, blob.buffers, allow_pickle=False)
            for blob in snapshot.blobs(None)
        }


class Writers:
    """Two that keep an invariant each, until they are told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.rounds = 0
        self._threads = [threading.Thread(target=self._guard, args=(w,)) for w in (self._climb, self._pay)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, work: Callable[[MemoryManager], None]) -> None:
        memory = self._cluster.memory(timeout_s=60)
        try:
            while not self._stop.is_set():
                work(memory)
                self.rounds += 1
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            memory.close()

    def _climb(self, memory: MemoryManager) -> None:
        """Steps 0, 1, 2, ... one after the other: an earlier one is never behind a later one."""
        height = int(memory.retrieve("step/0000")[0]) + 1
        for i in range(0, STEPS, 25):
            if self._stop.is_set():
                return
            for j in range(i, i + 25, 12):
                memory.store(f"step/{j:04}", np.full(64, height), tier="warm" if j % 2 else "cold")

    def _pay(self, memory: MemoryManager) -> None:
        """Money moves between accounts in one request; the sum stays."""
        rng = np.random.default_rng(self.rounds)
        one, other = (f"account/{i:04}" for i in rng.choice(PAIRS, 2, replace=False))
        amount = int(rng.integers(1, 10))
        before = memory.retrieve_many([one, other])
        memory.store_many({one: before[one] - amount, other: before[other] + amount})


def prepare(memory: MemoryManager) -> None:
    memory.store_many({f"step/{i:04}": np.zeros(64, np.int64) for i in range(STEPS)}, tier="cold")
    memory.store_many({f"account/{i:04}": np.full(20_000, TOTAL) for i in range(PAIRS)})


def check(values: dict[str, np.ndarray]) -> int:
    written = [j for i in range(0, STEPS, 25) for j in range(i, i + 25, 12)]
    heights = [int(values[f"step/{j:04}"][0]) for j in written]
    assert heights == sorted(heights, reverse=True), heights
    assert heights[0] - heights[-1] <= 1
    assert sum(int(values[f"account/{i:04}"][0]) for i in range(PAIRS)) == PAIRS * TOTAL
    assert len(values) == STEPS + PAIRS
    return heights[0]


def test_a_snapshot_under_writers_keeps_what_they_keep(
    memory: MemoryManager, cluster: Cluster, tmp_path: Path
) -> None:
    prepare(memory)
    with Writers(cluster) as writers:
        wait_until(lambda: writers.rounds > 3 or bool(writers.failures), 60)
        for number in range(4):
            path = tmp_path / f"{number}.memories"
            memory.create_snapshot(path)
            check(values_of(path))
    assert writers.failures == []
    assert writers.rounds > 4


def test_a_snapshot_whose_coordinator_dies_is_a_moment_or_none(
    memory: MemoryManager, cluster: Cluster, tmp_path: Path
) -> None:
    """The cut dies with the coordinator; values that changed too early are noticed by their versions."""
    prepare(memory)
    path = tmp_path / "s.memories"
    coordinator = ray.get_actor(f"{cluster.name}/coordinator", NAMESPACE)
    pid = ray.get(coordinator.__ray_call__.remote(lambda _: os.getpid()))
    with Writers(cluster) as writers:
        wait_until(lambda: writers.rounds > 3 or bool(writers.failures), 60)
        killer = threading.Timer(0.05, os.kill, (pid, signal.SIGKILL))
        killer.start()
        memory.create_snapshot(path)
        killer.join()
    check(values_of(path))
    assert writers.failures == []


def test_a_snapshot_that_is_given_up_holds_no_writer_for_long(
    memory: MemoryManager, cluster: Cluster
) -> None:
    memory.store("key", 1)
    cut = memory._client.begin_cut()
    assert "key" in cut.keys
    memory.store("other", 1)  # not in the cut: it does not wait
    memory.store("key", 2, timeout_s=30)  # waits until the cut is released, and then goes on
    assert memory.retrieve("key") == 2
