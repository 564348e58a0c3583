"""Hot memory on real GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig

from .conftest import MB

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu_node(ray_cluster: RayCluster) -> Iterator[tuple[Cluster, str]]:
    """A cluster of ours on one more raylet, which has the GPUs of this machine, and the id of that node."""
    import torch

    node = ray_cluster.add_node(
        num_cpus=1, num_gpus=torch.cuda.device_count(), resources={"tiers": 1}, object_store_memory=300 * MB
    )
    config = ClusterConfig(hot_bytes=2048 * MB, temporary=True, node_selector="tiers")
    cluster = connect(name="gpus", config=config)
    yield cluster, node.node_id
    cluster.shutdown(delete=True)
    ray_cluster.remove_node(node)


def test_every_gpu_has_its_hot_actor_and_learners_keep_the_rest(gpu_node: tuple[Cluster, str]) -> None:
    import torch

    cluster, node = gpu_node
    hot = [tier for tier in cluster.status().tiers if tier.tier == "hot"]
    assert [tier.node for tier in hot] == [node] * torch.cuda.device_count()
    assert all(0 < tier.capacity_bytes < 2048 * MB for tier in hot)  # the context is paid for
    assert ray.available_resources()["GPU"] >= 0.9 * torch.cuda.device_count()
    connection = cluster.client()._connection
    deadline = Deadline.after(60, "looking at the hot actors")
    actors = [connection.tier_actor(tier.member, deadline) for tier in hot]
    places = [ray.get(a.__ray_call__.remote(lambda self: list(self.actor._blobs.places))) for a in actors]
    assert {place for (place,) in places} == {f"cuda:{i}" for i in range(len(hot))}


def test_values_come_back_from_the_gpu_as_they_were(gpu_node: tuple[Cluster, str]) -> None:
    import torch

    memory = gpu_node[0].memory()
    value = np.random.default_rng(0).random((500, 700), np.float32)
    memory.store("array", value, tier="hot")
    memory.store("tensor", torch.from_numpy(value), tier="hot")
    assert np.array_equal(memory.retrieve("array"), value)
    assert torch.equal(memory.retrieve("tensor").cpu(), torch.from_numpy(value))
    memory.move("array", "warm")
    memory.move("array", "hot")
    assert np.array_equal(memory.retrieve("array"), value)
