"""Where the copies of a key are after a client, or the migrator, has moved it."""

from __future__ import annotations

import pytest

from memories.actors.core.events import MemberJoined, MoveMany
from memories.actors.core.model import Outcome

from .perfect import PerfectCluster


def cluster_with_hot(nodes: int) -> PerfectCluster:
    cluster = PerfectCluster(nodes)
    for number in range(1, nodes + 1):
        cluster.add_member(f"n{number}", "hot")
        cluster.handle(MemberJoined(cluster.tiers[f"n{number}/hot"].info))
    return cluster


def holders(cluster: PerfectCluster, key: str) -> list[str]:
    return sorted(cluster.core.catalog.entries[key].holders)


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_all_copies_leave_hot_when_a_key_sinks(tier: str) -> None:
    cluster = cluster_with_hot(3)
    assert cluster.store({"k": "value"}, tier="hot", replicas=2).outcomes is None
    assert holders(cluster, "k") == ["n1/hot", "n2/hot"]
    assert cluster.move("k", tier=tier).outcomes is None
    assert holders(cluster, "k") == [f"n1/{tier}", f"n2/{tier}"]
    assert cluster.get("k") == "value"
    assert cluster.core.catalog.used_bytes["n1/hot"] == cluster.core.catalog.used_bytes["n2/hot"] == 0
    assert not cluster.values["n1/hot"]
    assert not cluster.values["n2/hot"]
    cluster.tick()
    assert cluster.core.at_rest


def test_a_copy_that_is_needed_and_has_no_other_node_to_sink_to_stays() -> None:
    cluster = cluster_with_hot(2)
    cluster.add_member("n3", "hot")
    cluster.handle(MemberJoined(cluster.tiers["n3/hot"].info))
    assert cluster.store({"k": "value"}, tier="hot", replicas=3).outcomes is None
    assert cluster.move("k", tier="warm").outcomes is None
    assert holders(cluster, "k") == ["n1/warm", "n2/warm", "n3/hot"]  # n3 has no warm member
    cluster.tick()
    assert cluster.core.at_rest


def test_one_copy_rises_and_the_other_stays() -> None:
    cluster = cluster_with_hot(3)
    assert cluster.store({"k": "value"}, tier="warm", replicas=2).outcomes is None
    assert cluster.move("k", tier="hot").outcomes is None
    assert holders(cluster, "k") == ["n1/hot", "n2/warm"]


def test_a_target_that_refuses_the_second_copy_leaves_it_where_it_was() -> None:
    cluster = cluster_with_hot(2)
    assert cluster.store({"k": "value"}, tier="hot", replicas=2).outcomes is None
    cluster.unreachable.add("n2/hot")
    (outcome,) = cluster.move("k", tier="warm").outcomes
    assert outcome is Outcome.UNAVAILABLE
    assert holders(cluster, "k") == ["n1/warm", "n2/hot"]
    assert cluster.get("k") == "value"


def test_a_move_that_is_asked_for_again_while_it_runs_is_the_same_move() -> None:
    cluster = cluster_with_hot(1)
    cluster.store({"k": "value"}, tier="hot")
    cluster.down.add("n1/warm")
    event = MoveMany(cluster.request(), ("k",), "warm")
    for _ in range(3):
        cluster.handle(event)
    assert not cluster.core.stalled
    assert event.request not in cluster.replies
    cluster.down.clear()
    cluster.tick(5)
    assert cluster.replies[event.request].outcomes is None
    assert holders(cluster, "k") == ["n1/warm"]
    cluster.handle(event)
    assert cluster.core.at_rest
