"""Whatever breaks, and in whatever order: what was acknowledged stays, and nothing wrong is ever read."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.errors import ValueLost

from .chaos import Chaos, is_running
from .conftest import MB, actors_of, object_store_bytes, wait_until
from .leaks import Leaks
from .traffic import TIMEOUT_S, Traffic

pytestmark = pytest.mark.slow

FAULTS = ["kill_tier", "kill_coordinator", "kill_raylet", "stop_tier", "stop_coordinator", "stop_raylet"]
SHORT = ["stop_tier_shortly", "stop_raylet_shortly"]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "disks"


@pytest.fixture
def chaos(
    ray_cluster: RayCluster, storage: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Chaos, MemoryManager]]:
    """Four raylets with tiers. After the faults there is what the status says and no more, with values and
    without; and after the end no actor, process, object or file of ours is left."""
    seed = int(os.environ.get("MEMORIES_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"MEMORIES_CHAOS_SEED={seed}")
    store_before = object_store_bytes()
    config = ClusterConfig(hot_bytes=100 * MB, warm_bytes=200 * MB, cold_bytes=500 * MB, storage_path=storage)
    name = f"chaos-{request.node.name.partition('[')[0]}".replace("_", "-")[:60]
    cluster: Cluster = connect(name=name, config=config)
    memory = cluster.memory(timeout_s=TIMEOUT_S)
    made = Chaos(ray_cluster, cluster, memory, seed)
    for _ in range(3):
        made.add_node()
    made.wait_for_tiers()
    yield made, memory
    made.wait_for_tiers()
    leaks = Leaks(made, storage, store_before)
    leaks.check()
    memory.clear()
    leaks.check()
    assert made.held() == {}
    memory.close()
    cluster.shutdown(delete=True)
    for node in made.nodes:
        ray_cluster.remove_node(node)
    wait_until(lambda: actors_of(name) == [], 20)
    wait_until(lambda: not any(is_running(pid) for pid in made.pids), 20)
    wait_until(lambda: object_store_bytes() <= store_before, 20)
    left = [path for path in storage.rglob("*") if path.is_file()]
    assert left == []


def run_faults(chaos: Chaos, memory: MemoryManager, faults: list[str]) -> None:
    with Traffic(memory, chaos.draw.randrange(10**6)) as traffic:
        traffic.pause(2.0)
        for number, fault in enumerate(faults, 1):
            print(f"  {number}. {fault}")
            getattr(chaos, fault)(traffic)
            traffic.check()
        chaos.wait_for_tiers()
        chaos.wait_until_well(traffic, 60)
    traffic.check_everything()
    traffic.check()
    assert traffic.ledger.counts["acknowledged"] > 20 * len(faults)
    print(f"  {traffic.ledger.counts}, slowest call {traffic.slowest_s:.1f} s")


@pytest.mark.timeout(600)
def test_six_faults_in_random_order(chaos: tuple[Chaos, MemoryManager]) -> None:
    breaker, memory = chaos
    faults = FAULTS.copy()
    breaker.draw.shuffle(faults)
    run_faults(breaker, memory, faults)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_faults_in_random_order(chaos: tuple[Chaos, MemoryManager]) -> None:
    breaker, memory = chaos
    faults = [*FAULTS, *FAULTS, *breaker.draw.choices([*FAULTS, *SHORT], k=8)]
    breaker.draw.shuffle(faults)
    run_faults(breaker, memory, faults)


@pytest.mark.timeout(300)
def test_both_copies_killed_at_once_is_said_to_be_lost(chaos: tuple[Chaos, MemoryManager]) -> None:
    """Never an older value, never "not found": also not where an older one was on a disk."""
    breaker, memory = chaos
    keys = [f"both/{i}" for i in range(30)]
    for key in keys:
        memory.store(key, "older", durable=True)
        memory.store(key, np.zeros(100), replicas=2)
        memory.store(key, "newest", replicas=2, tier="warm")
    memory.store("deleted", 1, replicas=2)
    memory.delete("deleted")
    victims = breaker.members_of(keys[:1])[keys[0]]
    assert len(victims) == 2
    lost = [key for key, members in breaker.members_of(keys).items() if members <= victims]
    breaker.kill_tiers(victims)
    for key in keys:
        if key in lost:
            with pytest.raises(ValueLost, match=key):
                memory.retrieve(key)
        else:
            assert memory.retrieve(key) == "newest"
    breaker.wait_for_tiers()
    os.kill(breaker._coordinator(), 9)  # the next coordinator knows it from what is written down
    for key in lost:
        with pytest.raises(ValueLost, match=key):
            memory.retrieve(key)
    assert not memory.exists("deleted")
    memory.store(lost[0], "again", replicas=2)
    assert memory.retrieve(lost[0]) == "again"
    print(f"  {len(lost)} of {len(keys)} lost")
