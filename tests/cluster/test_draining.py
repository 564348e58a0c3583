"""Nodes that go: emptied by us, taken away by Ray, replaced by others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.errors import DeadlineExceeded, InvalidValue

from .conftest import MB, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def extra_node(ray_cluster: RayCluster, cluster: Cluster) -> Iterator[object]:
    before = len(cluster.status().tiers)
    node = ray_cluster.add_node(num_cpus=1, object_store_memory=200 * MB, node_name="extra")
    wait_until(lambda: len(cluster.status().tiers) == before + 3, 60)
    yield node
    if node in ray_cluster.worker_nodes:
        ray_cluster.remove_node(node)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)


def keys_on(cluster: Cluster, node: str) -> int:
    return sum(tier.keys for tier in cluster.status().tiers if tier.node == node)


def used_bytes_on(cluster: Cluster, node: str) -> int:
    return sum(tier.used_bytes for tier in cluster.status().tiers if tier.node == node)


def test_a_drained_node_is_empty_and_stays_so_also_for_the_next_coordinator(
    cluster: Cluster, memory: MemoryManager, extra_node: object
) -> None:
    node = extra_node.node_id  # type: ignore[attr-defined]
    _store_ten_on(node, cluster)
    assert keys_on(cluster, node) == 10
    cluster.drain("extra", timeout_s=60)
    assert used_bytes_on(cluster, node) == 0
    coordinator = ray.get_actor(f"{cluster.name}/coordinator", cluster.namespace)
    ray.kill(coordinator, no_restart=False)
    for i in range(10):
        assert memory.retrieve(f"there/{i}")[0] == i
        memory.store(f"more/{i}", i, replicas=2, allow_degraded=True)
    assert used_bytes_on(cluster, node) == 0
    cluster.undrain("extra")
    assert memory.store("again", 1, replicas=2).copies == 2
    with pytest.raises(InvalidValue, match="'elsewhere' is not a node of this cluster; there are"):
        cluster.drain("elsewhere")


def test_a_node_that_comes_after_a_drained_one_has_all_its_tiers(
    ray_cluster: RayCluster, cluster: Cluster, extra_node: object
) -> None:
    """It finds the disk of the other one, which was given up: that is set aside, and a new one taken."""
    cluster.drain("extra", timeout_s=60)
    before = len(cluster.status().tiers)
    ray_cluster.remove_node(extra_node)
    wait_until(lambda: len(cluster.status().tiers) == before - 3, 60)
    again = ray_cluster.add_node(num_cpus=1, object_store_memory=200 * MB, node_name="again")
    wait_until(lambda: len(cluster.status().tiers) == before, 60)
    ray_cluster.remove_node(again)


def test_a_drain_that_would_leave_too_few_copies_says_so(
    cluster: Cluster, memory: MemoryManager, extra_node: object
) -> None:
    memory.store("two", 1, replicas=2)
    with pytest.raises(DeadlineExceeded, match=r"1 value is still there.*copies"):
        cluster.drain("extra", timeout_s=5)
    assert memory.retrieve("two") == 1


def test_a_node_that_ray_drains_is_emptied_before_it_goes(
    ray_cluster: RayCluster, cluster: Cluster, memory: MemoryManager, extra_node: object
) -> None:
    """As the autoscaler does before it takes a node away: nothing is lost, also not what had one copy."""
    node = extra_node.node_id  # type: ignore[attr-defined]
    _store_ten_on(node, cluster)
    assert keys_on(cluster, node) == 10
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    client = GcsClient(address=ray_cluster.address)
    accepted, reason = client.drain_node(
        node, autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, "spot instance", 0
    )
    assert accepted, reason
    wait_until(lambda: used_bytes_on(cluster, node) == 0, 60)
    ray_cluster.remove_node(extra_node, allow_graceful=False)
    for i in range(10):
        assert memory.retrieve(f"there/{i}")[0] == i


def _store_ten_on(node: str, cluster: Cluster) -> None:
    """Ten values, of which that node has the only copy."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote(num_cpus=0)
    class Storer:
        def store(self, name: str) -> None:
            import memories

            memory = memories.connect(name=name).memory()
            for i in range(10):
                memory.store(f"there/{i}", np.full(30_000, i))

    actor = Storer.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
    ray.get(actor.store.remote(cluster.name), timeout=60)
    ray.kill(actor)
