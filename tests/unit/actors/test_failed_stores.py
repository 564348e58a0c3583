"""A store that cannot get all its copies: what becomes of the value that it was to replace."""

from __future__ import annotations

from dataclasses import replace

from memories.actors.core.events import DrainNode, MemberJoined, MemberLost
from memories.actors.core.model import Outcome

from .perfect import PerfectCluster


def test_the_last_live_copy_is_not_given_up_for_one_on_a_member_that_has_died_unnoticed() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"a": 1}, replicas=3)
    cluster.handle(DrainNode("n3"))  # keeps its copies, and takes no others
    request = cluster.request()
    # 1. A store of two copies begins: n1/warm takes its copy in the place of the old one.
    # 2. n2/warm dies before it answers, and so does n3/warm, which nobody notices yet.
    cluster.down |= {"n2/warm", "n3/warm"}
    assert cluster.store({"a": 2}, request, tier="warm", replicas=2) is None
    assert cluster.values["n1/warm"] == {"a": 2}
    # 3. There is no other place, and the catalog still has an old copy at n3/warm.
    cluster.handle(MemberLost("n2/warm", 1))
    cluster.tick()
    # 4. n3/warm is missed as well. Two of the three copies were lost, which the value was to survive.
    cluster.handle(MemberLost("n3/warm", 1))
    cluster.tick()
    assert cluster.values["n1/warm"] == {"a": 2}
    assert request not in cluster.replies
    cluster.down.discard("n2/warm")
    cluster.handle(MemberJoined(cluster.add_member("n2", "warm").info))
    cluster.tick()
    assert cluster.replies[request].outcomes is None
    assert [cluster.get("a"), cluster.values["n2/warm"]] == [2, {"a": 2}]


def test_that_nothing_was_changed_is_not_said_where_the_copy_that_replaced_the_old_one_is_lost() -> None:
    cluster = PerfectCluster(nodes=2)
    cluster.store({"a": 1}, tier="warm", replicas=2)
    request = cluster.request()
    # 1. n1/warm takes the new value in the place of the old one; n2/warm dies before it answers.
    cluster.down.add("n2/warm")
    assert cluster.store({"a": 2}, request, tier="warm", replicas=2) is None
    assert cluster.values["n1/warm"] == {"a": 2}
    cluster.handle(MemberLost("n2/warm", 1))
    # 2. n1/warm is lost as well: of the old value, and of the new one, nothing is left.
    cluster.down.add("n1/warm")
    cluster.handle(MemberLost("n1/warm", 1))
    assert request not in cluster.replies
    for _ in range(5):
        cluster.tick(10.0)
    assert cluster.replies[request].outcomes == (Outcome.UNKNOWN,)


def test_a_store_goes_back_where_the_old_value_keeps_all_its_copies() -> None:
    cluster = PerfectCluster(nodes=2)
    cluster.store({"a": 1}, replicas=2, durable=True)
    assert set(cluster.core.catalog.entries["a"].holders) == {"n1/warm", "n2/warm", "n1/cold"}
    set_room(cluster, "n2/warm", 15)
    reply = cluster.store({"a": 2}, sizes=(20,), tier="warm", replicas=2)
    assert reply is not None
    assert reply.outcomes == (Outcome.FULL,)
    assert cluster.get("a") == 1
    assert 2 not in cluster.values["n1/warm"].values()


def test_a_store_does_not_go_back_to_fewer_copies_than_the_old_value_asks_for() -> None:
    cluster = PerfectCluster(nodes=2)
    cluster.store({"a": 1}, replicas=2)
    set_room(cluster, "n2/warm", 15)
    request = cluster.request()
    assert cluster.store({"a": 2}, request, sizes=(20,), tier="warm", replicas=2) is None
    # Were the new copy removed now, the loss of n2/warm alone would be the loss of the value.
    assert [cluster.values[member] for member in ("n1/warm", "n2/warm")] == [{"a": 2}, {"a": 1}]
    set_room(cluster, "n2/warm", 1000)
    for _ in range(5):
        cluster.tick(10.0)
    assert cluster.replies[request].outcomes == (Outcome.UNKNOWN,)
    assert [cluster.values[member] for member in ("n1/warm", "n2/warm")] == [{"a": 2}, {"a": 2}]


def test_keys_that_were_refused_keep_their_value_where_others_were_taken() -> None:
    cluster = PerfectCluster(nodes=1)
    cluster.store({"a": 1, "b": 2})
    set_room(cluster, "n1/warm", 25)
    request = cluster.request()
    assert cluster.store({"a": 3, "b": 4}, request, sizes=(12, 20), tier="warm") is None
    assert cluster.values["n1/warm"] == {"a": 3, "b": 2}
    for _ in range(5):
        cluster.tick(10.0)
    assert cluster.replies[request].outcomes == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    assert cluster.get("b") == 2


def set_room(cluster: PerfectCluster, member: str, capacity_bytes: int) -> None:
    """Let the member have other room than the coordinator believes."""
    tier = cluster.tiers[member]
    tier.info = replace(tier.info, capacity_bytes=capacity_bytes)
