"""A disk without room: what could not be written down there is not acknowledged, and deletions make room."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.errors import CapacityExceeded, DeadlineExceeded, KeyNotFound
from tests.support.small_disk import count_bytes, fill, small_disk

from .conftest import MB, pid_of, wait_until

NO_ROOM, ROOM = 100, resource.RLIM_INFINITY


def run_in_cold(cluster: Cluster, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in the process of the cold tier."""
    member = next(tier.member for tier in cluster.status().tiers if tier.tier == "cold")
    actor: Any = cluster.client()._connection.tier_actor(member, Deadline.after(60, "the tier actor"))

    def call(self: Any) -> None:
        function(*arguments)

    ray.get(actor.__ray_call__.remote(call))


def limit_files(cluster: Cluster, nbytes: int) -> None:
    """Let the process of the cold tier write no file beyond this size: to it, the disk is full."""
    run_in_cold(cluster, resource.setrlimit, resource.RLIMIT_FSIZE, (nbytes, resource.RLIM_INFINITY))


@pytest.fixture
def full(cluster: Cluster, memory: MemoryManager) -> Any:
    """Two keys are on a disk that has no room any more."""
    memory.store("kept", np.arange(100), tier="cold", durable=True)
    memory.store("deleted", np.arange(100), tier="cold", durable=True)
    limit_files(cluster, NO_ROOM)
    yield
    limit_files(cluster, ROOM)


def test_a_delete_is_not_acknowledged_before_it_is_written_down(
    cluster: Cluster, memory: MemoryManager, full: None
) -> None:
    with cluster.memory(timeout_s=4) as hurried, pytest.raises(DeadlineExceeded):
        hurried.delete("deleted")
    limit_files(cluster, ROOM)
    wait_until(lambda: not memory.exists("deleted"), 30)  # what was begun goes on
    with pytest.raises(KeyNotFound):
        memory.retrieve("deleted")
    assert np.array_equal(memory.retrieve("kept"), np.arange(100))


def test_a_pin_is_not_acknowledged_before_it_is_written_down(
    cluster: Cluster, memory: MemoryManager, full: None
) -> None:
    with cluster.memory(timeout_s=4) as hurried, pytest.raises(DeadlineExceeded):
        hurried.pin("kept")
    limit_files(cluster, ROOM)
    memory.pin("kept")
    assert np.array_equal(memory.retrieve("kept"), np.arange(100))


def test_deletions_make_room_where_somebody_else_has_filled_the_disk(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    """And the coordinator is killed: the disk has to note the next one before it obeys."""
    folder, nbytes = tmp_path / "disk", 24 * MB
    large = np.arange(MB // 8)
    with small_disk(folder, nbytes) as for_this_process_alone:
        config = ClusterConfig(hot_bytes=50 * MB, cold_bytes=20 * MB, storage_path=folder)
        cluster = connect(name="filled", config=config)
        if for_this_process_alone:
            run_in_cold(cluster, count_bytes, folder, nbytes)
        with cluster.memory(timeout_s=60) as memory:
            memory.store_many({f"large {n}": large + n for n in range(4)}, tier="cold", durable=True)
            memory.store_many({f"small {n}": n for n in range(200)}, tier="cold", durable=True)
            fill(folder)
            with pytest.raises(CapacityExceeded, match="no room for 'more'"):
                memory.store("more", large, tier="cold", durable=True)
            os.kill(pid_of("filled/coordinator"), signal.SIGKILL)
            memory.delete_many([f"small {n}" for n in range(100)])
            memory.delete_many(["large 0", "large 1"])
            memory.store("more", large, tier="cold", durable=True)
        os.kill(pid_of("filled/coordinator"), signal.SIGKILL)  # what was acknowledged is on the disk
        with cluster.memory(timeout_s=60) as memory:
            left = {"large 2", "large 3", "more", *(f"small {n}" for n in range(100, 200))}
            assert set(memory.keys()) == left
            assert np.array_equal(memory.retrieve("large 3"), large + 3)
            assert np.array_equal(memory.retrieve("more"), large)
        cluster.shutdown(delete=True)
