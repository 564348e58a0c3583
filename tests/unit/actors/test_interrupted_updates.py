"""What was said of a key and acknowledged (pinned, priority, expiry) is said by every copy, whatever was
away or died meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memories.actors.core.events import MemberJoined, MemberLost, UpdateKeys
from memories.actors.core.model import Kind

from .perfect import PerfectCluster


def said(cluster: PerfectCluster) -> list[tuple[Any, ...]]:
    """By the catalog, and by each copy."""
    entry = cluster.core.catalog.entries["key"]
    slots = [t.slots["key"] for t in cluster.tiers.values() if "key" in t.slots]
    return [(e.pinned, e.priority, e.expires_s) for e in (entry, *slots) if e.kind is Kind.VALUE]


def ticks(cluster: PerfectCluster, count: int = 8) -> None:
    for _ in range(count):
        cluster.tick()


@pytest.mark.parametrize("missed", ["n1/warm", "n2/warm"])
@pytest.mark.parametrize("repeated", [True, False])
def test_an_update_that_has_reached_one_copy_reaches_all(missed: str, repeated: bool) -> None:
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, replicas=2)
    cluster.down.add(missed)
    request = cluster.request()
    changes = {"pinned": True, "priority": 5.0, "expires_s": 2e9}
    cluster.handle(UpdateKeys(request, ("key",), changes))
    assert request not in cluster.replies
    cluster.down.clear()
    cluster.start_coordinator()
    if repeated:
        cluster.handle(UpdateKeys(request, ("key",), changes))
        assert request not in cluster.replies  # it may not be said before every copy has heard of it
    ticks(cluster)
    if repeated:
        assert cluster.update("key", request=request, **changes) is None
    assert said(cluster) == [(True, 5.0, 2e9)] * 3
    ticks(cluster)
    assert cluster.core.at_rest
    cluster.start_coordinator()
    ticks(cluster)
    assert said(cluster) == [(True, 5.0, 2e9)] * 3
    assert cluster.get("key") == "value"


def test_an_update_that_turns_up_again_does_not_undo_a_later_one() -> None:
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, replicas=2, tier="cold")
    early = cluster.request("early")
    cluster.update("key", request=early, priority=1.0)
    lose(cluster, "n1/cold")
    cluster.update("key", request=cluster.request("late"), priority=2.0)
    cluster.down.clear()
    cluster.start_coordinator()
    cluster.handle(UpdateKeys(early, ("key",), {"priority": 1.0}))
    ticks(cluster)
    assert cluster.update("key", request=early, priority=1.0) is None
    assert {priority for _, priority, _ in said(cluster)} == {2.0}


def lose(cluster: PerfectCluster, member: str) -> None:
    cluster.down.add(member)
    cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))
    ticks(cluster, 1)


def return_to(cluster: PerfectCluster, node: str) -> None:
    cluster.down.clear()
    back = cluster.add_member(node, "cold")
    back.info = replace(back.info, highest_epoch=1)
    cluster.handle(MemberJoined(back.info))
    ticks(cluster)


@pytest.mark.parametrize("updates", [1, 3])
def test_a_disk_that_was_away_hears_what_it_has_missed(updates: int) -> None:
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, replicas=2, tier="cold")
    lose(cluster, "n1/cold")
    for number in range(updates):
        assert cluster.update("key", pinned=True, priority=5.0 + number) is None
    return_to(cluster, "n1")
    wanted = (True, 4.0 + updates, None)
    assert said(cluster) == [wanted] * 3
    cluster.start_coordinator()
    ticks(cluster)
    assert said(cluster) == [wanted] * 3


def test_copies_that_say_the_same_are_left_alone() -> None:
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, replicas=2, tier="cold")
    cluster.update("key", pinned=True)
    lose(cluster, "n1/cold")
    return_to(cluster, "n1")
    marks = cluster.core.catalog.entries["key"].clients
    cluster.start_coordinator()
    ticks(cluster)
    assert cluster.core.catalog.entries["key"].clients == marks
    assert not any(client.startswith("catching up") for client, _ in marks)
