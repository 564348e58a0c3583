"""A view comes back from the log as it was written; a coordinator that has a successor there ends itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import connect
from memories.actors.config import ClusterConfig
from memories.actors.core.model import MemberInfo, View
from memories.actors.names import coordinator_name
from memories.actors.view_log import ViewLog, _pack, _unpack

from .conftest import MB, actors_of, wait_until


def test_a_view_is_the_same_after_the_log() -> None:
    info = MemberInfo("n1/cold", "n1", "cold", 3, durable=True, capacity_bytes=10, highest_epoch=2)
    view = View(4, 2, "me", (info,), ("n2/cold",), ("n3/cold",), ("n1/cold",))
    assert _unpack(_pack(view)) == view


@pytest.mark.slow
def test_a_coordinator_that_has_been_followed_ends_itself(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """As one that was stopped for so long that another began: it must not go on, nor be started again."""
    config = ClusterConfig(hot_bytes=50 * MB, warm_bytes=50 * MB, storage_path=tmp_path)
    cluster = connect(name="followed", config=config)
    memory = cluster.memory(timeout_s=60)
    memory.store("kept", 1, durable=True)
    view_log = ViewLog("followed")
    newest = view_log.newest()
    assert newest is not None
    successor = replace(newest, number=newest.number + 1, epoch=newest.epoch + 1, owner="another")
    assert view_log.append(successor)
    wait_until(lambda: coordinator_name("followed") not in actors_of("followed"), 30)
    again = connect(name="followed", config=config)
    following = view_log.newest()
    assert following is not None
    assert following.epoch > successor.epoch
    assert following.owner not in (newest.owner, successor.owner)
    assert memory.retrieve("kept") == 1
    memory.store("kept", 2)
    assert again.memory().retrieve("kept") == 2
    again.shutdown(delete=True)
    wait_until(lambda: not actors_of("followed"), 20)
