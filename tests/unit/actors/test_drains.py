"""A node that is drained and taken away leaves nothing behind that anybody waits for."""

from __future__ import annotations

from memories.actors.core.events import DrainNode, MemberLost, Start
from memories.actors.core.model import Outcome

from .perfect import PerfectCluster


def take_away(cluster: PerfectCluster, node: str) -> None:
    for member in (f"{node}/warm", f"{node}/cold"):
        cluster.down.add(member)
        cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))


def test_the_disk_of_a_drained_node_is_not_waited_for() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"k": 1}, node="n3", durable=True)
    cluster.handle(DrainNode("n3"))
    assert not cluster.core.catalog.used_bytes["n3/cold"]
    take_away(cluster, "n3")
    cluster.start_coordinator()
    assert cluster.get("k") == 1
    assert cluster.get("never stored") is Outcome.MISSING


def test_the_disk_of_a_node_that_died_is() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"k": 1}, node="n3", durable=True)
    take_away(cluster, "n3")
    cluster.start_coordinator()
    for _ in range(40):
        cluster.tick()
    assert cluster.get("never stored") is Outcome.UNAVAILABLE


def test_a_drain_that_the_next_coordinator_is_told_of_before_it_serves_is_carried_out() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"k": 1}, node="n3")
    assert cluster.core.catalog.entries["k"].holders == ("n3/warm",)
    cluster.core = type(cluster.core)("next", lambda: cluster.now, lambda: cluster.now, cluster.config)
    cluster.core.handle(DrainNode("n3"))
    cluster.handle(Start(cluster.log[-1], tuple(tier.info for tier in cluster.tiers.values())))
    for _ in range(10):
        cluster.tick()
    assert cluster.core.catalog.used_bytes["n3/warm"] == 0
    assert cluster.get("k") == 1
