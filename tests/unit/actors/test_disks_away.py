"""What happens to keys whose disk is away, comes back, or is given up."""

from __future__ import annotations

import pytest

from memories.actors.core.commands import Announce, Quarantine
from memories.actors.core.events import DeclareGone, DrainNode, MemberJoined, MemberLost
from memories.actors.core.model import Kind, Outcome

from .perfect import PerfectCluster


@pytest.fixture
def cluster() -> PerfectCluster:
    return PerfectCluster(nodes=3)


def lose(cluster: PerfectCluster, member: str) -> None:
    cluster.down.add(member)
    cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))


def come_back(cluster: PerfectCluster, member: str) -> None:
    cluster.down.discard(member)
    tier = cluster.add_member(*member.split("/"))
    cluster.handle(MemberJoined(tier.info))
    cluster.tick()


def test_the_only_copy_is_unavailable_until_its_disk_is_back(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1}, tier="cold")
    lose(cluster, "n1/cold")
    assert cluster.get("a") is Outcome.UNAVAILABLE
    assert cluster.get("never stored") is Outcome.MISSING
    cluster.start_coordinator()
    assert cluster.get("a") is Outcome.UNAVAILABLE
    assert cluster.get("never stored") is Outcome.UNAVAILABLE  # this coordinator cannot know
    come_back(cluster, "n1/cold")
    assert [cluster.get("a"), cluster.get("never stored")] == [1, Outcome.MISSING]


def test_what_was_deleted_while_the_disk_was_away_stays_deleted(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1}, tier="cold")
    lose(cluster, "n1/cold")
    cluster.delete("a")
    marked = [name for name, tier in cluster.tiers.items() if tier.slots.get("a") and name != "n1/cold"]
    assert {"n2/cold", "n3/cold"} <= set(marked)
    cluster.start_coordinator()
    come_back(cluster, "n1/cold")
    assert cluster.get("a") is Outcome.MISSING
    slot = cluster.tiers["n1/cold"].slots.get("a")
    assert slot is None or slot.kind is Kind.TOMBSTONE


def test_what_was_overwritten_while_the_disk_was_away_stays_so(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1}, tier="cold")
    lose(cluster, "n1/cold")
    cluster.store({"a": 2}, tier="warm", node="n2")
    lose(cluster, "n2/warm")  # the new value is lost; the old one must not take its place
    assert cluster.get("a") is Outcome.LOST
    cluster.start_coordinator()
    come_back(cluster, "n1/cold")
    assert cluster.get("a") is Outcome.LOST


def test_a_disk_that_was_given_up_is_quarantined(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1}, tier="cold")
    lose(cluster, "n1/cold")
    said = len(cluster.sent)
    cluster.handle(DeclareGone("n1/cold"))
    assert cluster.get("a") is Outcome.LOST
    announced = [c.keys for c in cluster.sent[said:] if isinstance(c, Announce) and c.what == "lost"]
    assert announced == [("a",)]
    cluster.start_coordinator()
    assert cluster.get("never stored") is Outcome.MISSING
    come_back(cluster, "n1/cold")
    assert any(isinstance(command, Quarantine) for command in cluster.sent)
    assert "n1/cold" not in cluster.core.membership.live


def test_giving_a_disk_up_announces_only_what_nobody_else_has(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1, "deleted": 2, "kept": 3}, tier="cold", node="n1")
    cluster.store({"kept": 5}, tier="warm", node="n2")
    lose(cluster, "n1/cold")
    cluster.delete("deleted")
    said = len(cluster.sent)
    cluster.handle(DeclareGone("n1/cold"))
    announced = [c.keys for c in cluster.sent[said:] if isinstance(c, Announce) and c.what == "lost"]
    assert announced == [("a",)]
    assert [cluster.get("kept"), cluster.get("deleted")] == [5, Outcome.MISSING]


def test_a_drained_node_is_empty_and_takes_nothing_new(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1, "b": 2})
    cluster.store({"c": 3}, durable=True)
    cluster.handle(DrainNode("n1"))
    cluster.tick()
    cluster.store({"d": 4})
    for key, value in zip("abcd", (1, 2, 3, 4), strict=True):
        assert cluster.get(key) == value
        assert not any(member.startswith("n1/") for member in cluster.core.catalog.entries[key].holders)
    assert not cluster.tiers["n1/warm"].slots
