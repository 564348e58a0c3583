"""Actors and nodes are killed for real; what was acknowledged stays, and nothing wrong is ever read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE
from memories.errors import NotRunning, ValueLost

from .conftest import MB, actors_of, pid_of, wait_until


@pytest.fixture
def two_more_nodes(ray_cluster: RayCluster, cluster: Cluster) -> Iterator[list[object]]:
    """Two raylets beside the head, carrying tiers."""
    before = len(cluster.status().tiers)
    nodes = [
        ray_cluster.add_node(num_cpus=1, object_store_memory=300 * MB, node_name=f"extra{i}")
        for i in range(2)
    ]
    wait_until(lambda: len(cluster.status().tiers) == before + 6, 60)
    yield nodes
    for node in nodes:
        if node in ray_cluster.worker_nodes:
            ray_cluster.remove_node(node)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)


def copies_of(memory: MemoryManager, key: str) -> int:
    (located,) = memory._client.locate_many([key], touch=False)
    return len({member.partition("/")[0] for member, _ in located.members})


def test_the_catalog_is_rebuilt_after_the_coordinator_was_killed(
    memory: MemoryManager, cluster: Cluster
) -> None:
    values = {f"k{i}": np.full(200, i) for i in range(500)}
    memory.store_many(values)
    memory.store("cold", np.arange(50_000), tier="cold")
    memory.delete("k0")
    os.kill(pid_of(f"{cluster.name}/coordinator"), signal.SIGKILL)
    # The very next calls wait for the new coordinator, and are answered.
    assert np.array_equal(memory.retrieve("cold"), np.arange(50_000))
    assert not memory.exists("k0")
    assert len(memory.keys("k")) == 499
    memory.store("k1", "new")
    assert memory.retrieve("k1") == "new"


def test_a_killed_warm_tier_loses_only_what_had_no_other_copy(
    memory: MemoryManager, cluster: Cluster, two_more_nodes: list[object]
) -> None:
    value = np.arange(200_000)
    memory.store("twice", value, tier="warm", replicas=2)
    memory.store("once", value, tier="warm")
    memory.store("durable", value, tier="warm", durable=True)
    assert copies_of(memory, "twice") == 2
    own_node = ray.get_runtime_context().get_node_id()
    os.kill(pid_of(f"{cluster.name}/tier/{own_node}/warm0"), signal.SIGKILL)
    assert np.array_equal(memory.retrieve("twice"), value)
    assert np.array_equal(memory.retrieve("durable"), value)
    with pytest.raises(ValueLost, match="'once'"):
        memory.retrieve("once")
    wait_until(lambda: copies_of(memory, "twice") == 2, 30)
    memory.store("once", "again")
    assert memory.retrieve("once") == "again"


def test_a_killed_node_loses_nothing_that_has_two_copies(
    memory: MemoryManager, cluster: Cluster, ray_cluster: RayCluster, two_more_nodes: list[object]
) -> None:
    rng = np.random.default_rng(0)
    values = {f"v{i}": rng.random(30_000) for i in range(40)}
    for key, value in values.items():
        assert memory.store(key, value, replicas=2).copies == 2
    ray_cluster.remove_node(two_more_nodes[0], allow_graceful=False)
    for key, value in values.items():
        assert np.array_equal(memory.retrieve(key), value), key
    wait_until(lambda: all(copies_of(memory, key) == 2 for key in values), 45)
    memory.store("after", 1, replicas=2)
    assert memory.retrieve("after") == 1


def test_a_tier_actor_that_somebody_ended_for_good_is_started_again(
    memory: MemoryManager, cluster: Cluster
) -> None:
    memory.store("durable", 1, durable=True)
    own_node = ray.get_runtime_context().get_node_id()
    names = [f"{cluster.name}/tier/{own_node}/{tier}0" for tier in ("warm", "cold")]
    for name in names:
        ray.kill(ray.get_actor(name, NAMESPACE), no_restart=True)
    assert memory.retrieve("durable") == 1
    memory.store("warm again", 2, tier="warm")
    assert memory.retrieve("warm again") == 2


def test_a_writer_that_is_killed_in_the_middle_of_a_store_blocks_nobody(
    memory: MemoryManager, cluster: Cluster
) -> None:
    code = f"""
import numpy as np, memories
memory = memories.connect("auto", name={cluster.name!r}).memory()
for number in range(10**6):
    memory.store("contested", np.full(500_000, number), tier=["warm", "cold"][number % 2])
    print(number, flush=True)
"""
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    for killed_after in (1, 2, 4):
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(killed_after):
                last = int(writer.stdout.readline())
            writer.kill()
        value = memory.retrieve("contested")
        assert value[0] >= last
        assert (value == value[0]).all()
        memory.store("contested", "ours", timeout_s=45)
        assert memory.retrieve("contested") == "ours"


def test_a_cluster_whose_coordinator_dies_meanwhile_is_ended_all_the_same(ray_cluster: RayCluster) -> None:
    cluster = connect(name="short-lived", config=ClusterConfig(hot_bytes=MB, warm_bytes=MB, temporary=True))
    memory = connect(name="short-lived").memory()  # another connection, which the shutdown does not close
    os.kill(pid_of("short-lived/coordinator"), signal.SIGKILL)
    cluster.shutdown(delete=True)
    wait_until(lambda: actors_of("short-lived") == [], 30)
    with pytest.raises(NotRunning, match=r"cluster 'short-lived' does not run \(any more\)"):
        memory.retrieve("k")


def test_a_temporary_cluster_does_not_find_the_disks_of_one_that_was_killed(ray_cluster: RayCluster) -> None:
    config = ClusterConfig(hot_bytes=MB, warm_bytes=MB, cold_bytes=10 * MB, temporary=True)
    with connect(name="again", config=config).memory() as memory:
        memory.store("old", 1, tier="cold")
    for name in actors_of("again"):
        ray.kill(ray.get_actor(name, NAMESPACE), no_restart=True)
    wait_until(lambda: actors_of("again") == [], 30)
    left = set(Path(tempfile.gettempdir()).glob("memories-again-*"))
    cluster = connect(name="again", config=config)
    with cluster.memory() as memory:
        assert memory.keys() == []
        assert not memory.exists("never stored")
        memory.store("old", 2, tier="cold")
        assert memory.retrieve("old") == 2
    cluster.shutdown(delete=True)
    assert set(Path(tempfile.gettempdir()).glob("memories-again-*")) == left
    for folder in left:
        shutil.rmtree(folder)
