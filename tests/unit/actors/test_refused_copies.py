"""A background copy that is refused waits before it is tried again, and then goes another way."""

from __future__ import annotations

from dataclasses import replace

from memories.actors.core.commands import CopyMany
from memories.actors.core.events import MemberLost
from memories.actors.core.model import Outcome

from .perfect import PerfectCluster


def copies(cluster: PerfectCluster) -> list[CopyMany]:
    return [command for command in cluster.sent if isinstance(command, CopyMany)]


def lose(cluster: PerfectCluster, member: str) -> None:
    cluster.down.add(member)
    cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))


def test_a_refused_copy_is_tried_again_ever_more_seldom() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"k": 1}, replicas=2, tier="warm")
    cluster.unreachable.add("n1/warm")
    lose(cluster, "n2/warm")
    for _ in range(400):
        cluster.tick(0.1)
    assert 5 <= len(copies(cluster)) <= 15
    cluster.unreachable.clear()
    for _ in range(100):
        cluster.tick(0.1)
    assert cluster.core.catalog.entries["k"].holders == ("n1/warm", "n3/warm")
    assert cluster.core.at_rest


def test_the_next_try_goes_to_another_source() -> None:
    cluster = PerfectCluster(nodes=4)
    cluster.store({"k": 1}, replicas=3, tier="warm")
    cluster.unreachable.add("n1/warm")
    lose(cluster, "n3/warm")
    for _ in range(5):
        cluster.tick(0.1)
    assert [command.source for command in copies(cluster)] == ["n1/warm", "n2/warm"]
    assert "n4/warm" in cluster.core.catalog.entries["k"].holders


def test_the_next_try_goes_to_another_target() -> None:
    cluster = PerfectCluster(nodes=4)
    cluster.store({"k": 1}, replicas=2, tier="warm")
    tier = cluster.tiers["n3/warm"]
    tier.info = replace(tier.info, capacity_bytes=1)
    lose(cluster, "n2/warm")
    for _ in range(5):
        cluster.tick(0.1)
    assert [command.fence.member for command in copies(cluster)] == ["n3/warm", "n4/warm"]


def test_nothing_is_remembered_of_a_key_that_is_deleted() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"k": 1}, replicas=2, tier="warm")
    cluster.unreachable.add("n1/warm")
    lose(cluster, "n2/warm")
    cluster.delete("k")
    for _ in range(20):
        cluster.tick(0.1)
    assert cluster.get("k") is Outcome.MISSING
    assert not cluster.core.transfers.refusals
