"""Damaged copies are repaired, drained nodes are emptied, and a disk that comes back brings its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.core import events as ev
from memories.actors.memory_manager import MemoryManager
from memories.errors import DeadlineExceeded, InvalidValue, NotEnoughNodes, Unavailable, ValueLost
from tests.support.object_servers import SeaweedFS

from .conftest import MB, wait_until


@pytest.fixture
def memory(cluster: Cluster) -> Iterator[MemoryManager]:
    manager = cluster.memory(timeout_s=60)
    yield manager
    manager.clear()
    manager.close()


def damage(cluster: Cluster, member: str) -> None:
    """Turn a byte in the middle of every large file of a cold tier round, on the disk itself."""
    actor: Any = cluster.client()._connection.tier_actor(member, Deadline.after(60, "the tier actor"))

    def turn_round(self: Any) -> int:
        files = [
            f for f in self.actor._medium.disk.folder.rglob("*") if f.is_file() and f.stat().st_size > 1 << 20
        ]
        for file in files:
            with file.open("r+b") as opened:
                opened.seek(file.stat().st_size // 2)
                byte = opened.read(1)
                opened.seek(-1, 1)
                opened.write(bytes([byte[0] ^ 0xFF]))
        return len(files)

    assert ray.get(actor.__ray_call__.remote(turn_round)) >= 1


@pytest.fixture
def other_node(ray_cluster: RayCluster, cluster: Cluster) -> Iterator[Any]:
    before = len(cluster.status().tiers)
    node = ray_cluster.add_node(num_cpus=1, object_store_memory=300 * MB)
    wait_until(lambda: len(cluster.status().tiers) == before + 3, 60)
    yield node
    if node in ray_cluster.worker_nodes:
        ray_cluster.remove_node(node)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)


def members_of(memory: MemoryManager, key: str) -> list[str]:
    (located,) = memory._client.locate_many([key], touch=False)
    return [member for member, _ in located.members]


def test_a_damaged_copy_is_not_returned_and_is_replaced(
    memory: MemoryManager, cluster: Cluster, other_node: Any
) -> None:
    value = np.random.default_rng(0).random(400_000)
    memory.store("value", value, tier="cold", replicas=2)
    nearest, _ = members_of(memory, "value")
    with memory.subscribe("repaired") as events:
        damage(cluster, nearest)
        assert np.array_equal(memory.retrieve("value"), value)
        while "value" not in events.get(timeout_s=60).keys:
            pass
    wait_until(lambda: len(members_of(memory, "value")) == 2, 60)
    for member in members_of(memory, "value"):
        actor: Any = memory._client._connection.tier_actor(member, Deadline.after(60, "the tier actor"))
        read = ray.get(
            actor.__ray_call__.remote(lambda self: bytes(self.actor._blobs.get("value").buffers[0]))
        )
        assert read == value.tobytes()


def test_draining_a_node_empties_it_and_loses_nothing(
    memory: MemoryManager, cluster: Cluster, ray_cluster: RayCluster, other_node: Any
) -> None:
    there = other_node.node_id
    values = {f"d{i}": np.full(20_000, i) for i in range(30)}
    memory.store_many(values)
    for tier, keys in (("warm", list(values)[:10]), ("cold", list(values)[10:20])):
        request = memory._client._connection.next_request()
        memory._client._connection.ask(ev.MoveMany(request, tuple(keys), "hot", there), "moving", 60)
        if tier == "cold":
            memory._client.move_many(keys, "cold")
    # One that is on its way from hot to warm at this moment is in both.
    wait_until(lambda: sum(t.keys for t in cluster.status().tiers if t.node == there) == 20, 30)
    cluster.drain(there, timeout_s=120)
    assert not any(t.keys for t in cluster.status().tiers if t.node == there)
    memory.store("after", 1)
    ray_cluster.remove_node(other_node, allow_graceful=False)
    back = memory.retrieve_many(values)
    assert all(np.array_equal(back[key], value) for key, value in values.items())
    assert memory.retrieve("after") == 1


def test_a_disk_that_comes_back_brings_its_values(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """The whole cluster ends and starts anew on the same folders: once orderly, once by SIGKILL of all."""
    config = ClusterConfig(hot_bytes=50 * MB, cold_bytes=500 * MB, storage_path=tmp_path)
    small = {f"small/{i}": np.full(64, i) for i in range(300)}
    with connect(name="rejoining", config=config) as first:
        memory = first.memory()
        memory.store_many(small, tier="cold")
        memory.store("large", np.arange(300_000), durable=True)
        memory.store("gone", 1, tier="cold")
        memory.delete("gone")
        first.shutdown()
    for number in range(2):
        again = connect(name="rejoining", config=config)
        memory = again.memory()
        assert np.array_equal(memory.retrieve("large"), np.arange(300_000))
        back = memory.retrieve_many(small)
        assert all(np.array_equal(back[key], value) for key, value in small.items())
        assert not memory.exists("gone")
        memory.store_many(small, tier="cold")  # over what the disk has brought
        memory.store("large", np.arange(300_000), durable=True)
        if number:
            again.shutdown(delete=True)
        else:
            from ray.util import list_named_actors

            for actor in list_named_actors(all_namespaces=True):
                if actor["name"].startswith("rejoining/"):
                    ray.kill(ray.get_actor(actor["name"], actor["namespace"]), no_restart=True)
            again.close()


def test_a_disk_that_is_declared_gone_is_not_waited_for_and_set_aside_when_it_returns(
    memory: MemoryManager, cluster: Cluster, ray_cluster: RayCluster, other_node: Any
) -> None:
    there = other_node.node_id
    memory.store_many({f"gone{i}": np.full(20_000, i) for i in range(5)}, tier="warm")
    request = memory._client._connection.next_request()
    memory._client._connection.ask(
        ev.MoveMany(request, tuple(f"gone{i}" for i in range(4)), "hot", there), "moving", 60
    )
    memory._client.move_many([f"gone{i}" for i in range(4)], "cold")
    memory.store("both", 1, tier="cold", replicas=2)
    disk = next(t.member for t in cluster.status().tiers if t.node == there and t.tier == "cold")
    assert [members_of(memory, f"gone{i}") for i in range(4)] == [[disk]] * 4
    with pytest.raises(InvalidValue, match=r"is no disk that is away; there are none.*can be drained"):
        cluster.declare_gone(disk)
    ray_cluster.remove_node(other_node, allow_graceful=False)
    wait_until(lambda: cluster.status().away == (disk,), 60)
    (advice,) = [a for a in cluster.status().advice if disk in a.what]
    assert f"memories declare-gone {disk}" in advice.do
    hasty = cluster.memory(timeout_s=2)
    with pytest.raises(DeadlineExceeded):
        hasty.retrieve("gone1")
    for ask in (hasty.exists, hasty.get_tier, hasty.__contains__):
        with pytest.raises(Unavailable, match="gone1"):
            ask("gone1")
    assert hasty.keys("gone1") == ["gone1"]
    with memory.subscribe("lost") as events:
        assert cluster.declare_gone(disk[:14]) == 4
        assert set(events.get(timeout_s=30).keys) == {f"gone{i}" for i in range(4)}
    assert cluster.status().away == ()
    for key in ("gone0", "gone3"):
        with pytest.raises(ValueLost, match=key):
            memory.retrieve(key)
        with pytest.raises(ValueLost, match=key):
            memory.get_tier(key)
        assert key not in memory
    assert memory.retrieve("both") == 1
    assert memory.retrieve("gone4")[0] == 4
    assert not memory.exists("never stored")
    memory.store("gone0", "anew")
    before = len(cluster.status().tiers)
    again = ray_cluster.add_node(num_cpus=1, object_store_memory=300 * MB)
    wait_until(lambda: len(cluster.status().tiers) == before + 3, 60)
    assert disk not in [tier.member for tier in cluster.status().tiers]
    assert memory.retrieve("gone0") == "anew"
    with pytest.raises(ValueLost):
        memory.retrieve("gone1")
    ray_cluster.remove_node(again)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)


@pytest.fixture(scope="module")
def seaweed() -> Iterator[SeaweedFS]:
    server = SeaweedFS()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("provider", ["local", "s3"])
def test_glacier_on_a_cluster(ray_cluster: RayCluster, tmp_path: Path, provider: str, request: Any) -> None:
    place: dict[str, Any] = {"storage_path": str(tmp_path / "objects")}
    if provider == "s3":
        place = {**request.getfixturevalue("seaweed").config, "prefix": tmp_path.name}
    config = ClusterConfig(
        hot_bytes=50 * MB, storage_path=tmp_path / "cluster", glacier={"provider": provider, **place}
    )
    values = {f"g{i}": np.full(100_000, i) for i in range(6)}
    cluster = connect(name=f"glacier-{provider}", config=config)
    memory = cluster.memory()
    memory.store_many(values, tier="glacier", metadata={"g1": {"year": 2020}})
    memory.store("w", np.arange(10), tier="warm")
    memory.move("w", "glacier")
    assert {memory.get_tier(key) for key in (*values, "w")} == {"glacier"}
    assert np.array_equal(memory.retrieve("g3"), values["g3"])
    assert np.array_equal(memory.retrieve("g4", partial=True, start=5, end=9), values["g4"][5:9])
    assert memory.query({"year": 2020}) == ["g1"]
    memory.delete("g5")
    cluster.shutdown()
    again = connect(name=f"glacier-{provider}", config=config)
    memory = again.memory()
    assert memory.keys() == ["g0", "g1", "g2", "g3", "g4", "w"]
    for key in ("g0", "g2"):
        assert np.array_equal(memory.retrieve(key), values[key])
    for _ in range(2):
        memory.retrieve("w")
    wait_until(lambda: memory.get_tier("w") == "warm", 30)  # read twice, it rises
    memory.clear()
    again.shutdown(delete=True)


def test_a_glacier_that_cannot_be_opened_is_named_and_the_rest_works(
    ray_cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"provider": "s3", "bucket": "b", "endpoint": "http://127.0.0.1:9", "max_attempts": 1}
    secrets = {"access_key_id": "canary-id", "secret_access_key": "canary-secret"}
    config = ClusterConfig(hot_bytes=50 * MB, storage_path=tmp_path, glacier={**wrong, **secrets})
    cluster = connect(name="no-glacier", config=config)
    memory = cluster.memory()
    memory.store("a", 1)
    with pytest.raises(NotEnoughNodes, match=r"'b'.* no node has a glacier tier"):
        memory.store("b", 2, tier="glacier")
    with pytest.raises(NotEnoughNodes, match=r"'a'.* no node has a glacier tier"):
        memory.move("a", "glacier")
    assert (memory.keys(), memory.retrieve("a")) == (["a"], 1)
    (advice,) = [a for a in cluster.status().advice if "glacier" in a.what]
    assert "127.0.0.1:9" in advice.what
    assert "canary" not in str(cluster.status())
    right = {"provider": "local", "storage_path": str(tmp_path / "objects")}
    connect(name="no-glacier", config=replace(config, glacier=right)).close()
    assert "keeps its configuration: glacier of this one is not used" in caplog.text
    cluster.shutdown()
    caplog.clear()
    again = connect(name="no-glacier", config=replace(config, glacier=right))
    assert not caplog.text
    memory = again.memory()
    memory.store("b", 2, tier="glacier")
    assert memory.get_tier("b") == "glacier"
    assert not [a for a in again.status().advice if "glacier" in a.what]
    again.shutdown(delete=True)
