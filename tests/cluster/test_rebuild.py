"""A killed coordinator has its catalog again from the tiers, while calls wait for it and then succeed."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.names import NAMESPACE, coordinator_name

BATCH = 20_000


@pytest.mark.parametrize(
    ("count", "limit_s"),
    [
        (60_000, 60.0),  # of a loaded machine
        pytest.param(1_000_000, 12.0, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(600)
def test_calls_wait_for_the_rebuild_and_succeed(cluster: Cluster, count: int, limit_s: float) -> None:
    memory = cluster.memory(timeout_s=60)
    for first in range(0, count, BATCH):
        memory.store_many({f"key/{i}": b"%d" % i for i in range(first, first + BATCH)})
    actor = ray.get_actor(coordinator_name(cluster.name), NAMESPACE)
    pid = int(ray.get(actor.__ray_call__.remote(lambda _self: os.getpid())))
    started_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with ThreadPoolExecutor(4) as pool:
        stored = pool.submit(memory.store, "key/new", b"new")
        read = pool.submit(memory.retrieve, f"key/{count // 2}")
        many = pool.submit(memory.retrieve_many, [f"key/{i}" for i in range(0, count, 1000)])
        absent = pool.submit(memory.exists, "key/none")
        assert stored.result().copies == 1
        assert read.result() == b"%d" % (count // 2)
        assert many.result() == {f"key/{i}": b"%d" % i for i in range(0, count, 1000)}
        assert not absent.result()
    assert time.monotonic() - started_s < limit_s
    assert len(memory.keys("key/")) == count + 1
    assert memory.retrieve("key/new") == b"new"
    memory.clear()
    memory.close()
