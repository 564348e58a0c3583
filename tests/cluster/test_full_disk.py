"""A disk without room: what could not be written down there is not acknowledged."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import pytest
import ray

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.errors import DeadlineExceeded, KeyNotFound

from .conftest import wait_until

NO_ROOM, ROOM = 100, resource.RLIM_INFINITY


def limit_files(cluster: Cluster, nbytes: int) -> None:
    """Let the process of the cold tier write no file beyond this size: to it, the disk is full."""
    member = next(tier.member for tier in cluster.status().tiers if tier.tier == "cold")
    actor: Any = cluster.client()._connection.tier_actor(member, Deadline.after(60, "the tier actor"))

    def limit(self: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, resource.RLIM_INFINITY))

    ray.get(actor.__ray_call__.remote(limit))


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
