"""What is taken back leaves behind what was known before: that something older is outdone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from memories.actors.core.commands import CopyMany
from memories.actors.core.events import MemberJoined, MemberLost
from memories.actors.core.model import Kind, Outcome
from memories.actors.core.tier import Action, Fetch

from .perfect import PerfectCluster

WITNESSES = ("n1/cold", "n2/cold")


class SlowCluster(PerfectCluster):
    """Copies take until `finish_copies`."""

    def __init__(self, **more: Any) -> None:
        self.under_way: list[tuple[str, Fetch]] = []
        self.slow = False
        super().__init__(**more)

    def _act(self, member: str, actions: list[Action]) -> list[Any]:
        if self.slow:
            self.under_way += [(member, action) for action in actions if isinstance(action, Fetch)]
            actions = [action for action in actions if not isinstance(action, Fetch)]
        return super()._act(member, actions)

    def finish_copies(self, value: object, slot: Any) -> None:
        """What was fetched before arrives."""
        self.slow = False
        for member, action in self.under_way:
            assert isinstance(action.command, CopyMany)
            source = action.command.source
            saved = (self.tiers[source].slots.get("a"), self.values[source].get("a"))
            self.tiers[source].slots["a"], self.values[source]["a"] = slot, value
            more = super()._act(member, [action])
            self.tiers[source].slots["a"], self.values[source]["a"] = saved
            for command in more:
                self.sent.append(command)
                self._perform(command)


def with_an_old_value_away(**options: Any) -> SlowCluster:
    """The value 1 of "a" is on the disk of n3, which is away; 2 is in n1's RAM, and marks prove it."""
    cluster = SlowCluster(nodes=3)
    cluster.store({"a": 1}, tier="cold", node="n3")
    lose(cluster, "n3/cold")
    cluster.store({"a": 2}, tier="warm", **options)
    assert [kind_at(cluster, member) for member in WITNESSES] == [Kind.SUPERSEDED] * 2
    return cluster


def lose(cluster: PerfectCluster, member: str) -> None:
    cluster.down.add(member)
    cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))


def come_back(cluster: PerfectCluster, member: str) -> None:
    cluster.down.discard(member)
    cluster.handle(MemberJoined(cluster.add_member(*member.split("/")).info))
    cluster.tick()


def restart_without(cluster: PerfectCluster, *lost: str) -> None:
    """These members are lost together with the coordinator."""
    cluster.down.update(lost)
    cluster.start_coordinator()
    for member in lost:
        cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))
    for _ in range(4):
        cluster.tick(5.0)


def kind_at(cluster: PerfectCluster, member: str) -> Kind | None:
    slot = cluster.tiers[member].slots.get("a")
    return None if slot is None else slot.kind


def store_that_finds_no_room(cluster: PerfectCluster) -> None:
    """n1/cold takes its copy, and n2/cold has less room than the coordinator believes."""
    tier = cluster.tiers["n2/cold"]
    tier.info = replace(tier.info, capacity_bytes=5)
    reply = cluster.store({"a": 3}, tier="cold", replicas=2)
    assert reply is not None
    assert reply.outcomes == (Outcome.FULL,)


def test_a_store_that_goes_back_leaves_the_marks_of_what_it_was_to_replace() -> None:
    cluster = with_an_old_value_away()
    store_that_finds_no_room(cluster)
    assert [kind_at(cluster, member) for member in WITNESSES] == [Kind.SUPERSEDED] * 2
    assert cluster.get("a") == 2
    # Now the value is lost together with the coordinator, and the old one comes back.
    restart_without(cluster, "n1/warm")
    come_back(cluster, "n3/cold")
    assert cluster.get("a") is Outcome.LOST


def test_a_store_that_goes_back_leaves_the_tombstones() -> None:
    cluster = with_an_old_value_away()
    cluster.delete("a")
    store_that_finds_no_room(cluster)
    assert [kind_at(cluster, member) for member in WITNESSES] == [Kind.TOMBSTONE] * 2
    restart_without(cluster, "n1/warm", "n2/warm")
    come_back(cluster, "n3/cold")
    assert cluster.get("a") is Outcome.MISSING


def test_a_copy_that_nobody_wants_any_more_leaves_the_mark_that_it_has_replaced() -> None:
    cluster = with_an_old_value_away()
    slot = cluster.tiers["n1/warm"].slots["a"]
    cluster.slow = True
    cluster.move("a", tier="cold")
    assert [member for member, _ in cluster.under_way] == ["n1/cold"]
    # Another store begins, and waits for one of its members; only then the copy arrives.
    cluster.down.add("n2/warm")
    assert cluster.store({"a": 3}, tier="warm", replicas=2) is None
    cluster.finish_copies(2, slot)
    cluster.tick()
    assert {kind_at(cluster, member) for member in WITNESSES} <= {Kind.SUPERSEDED, Kind.VALUE}
    # All that is volatile is lost together with the coordinator, and the old value comes back.
    restart_without(cluster, "n1/warm", "n2/warm", "n3/warm")
    come_back(cluster, "n3/cold")
    assert cluster.get("a") in (Outcome.LOST, 2)


def test_what_a_rebuild_clears_away_stays_as_a_mark_while_an_older_value_is_away() -> None:
    cluster = with_an_old_value_away()
    # A store of 3 reaches n2/warm, and its coordinator dies before anything else.
    cluster.down.add("n3/warm")
    assert cluster.store({"a": 3}, tier="warm", node="n2", replicas=2) is None
    restart_without(cluster, "n3/warm")
    assert {kind_at(cluster, member) for member in WITNESSES} <= {Kind.SUPERSEDED, Kind.VALUE}
    restart_without(cluster, "n1/warm", "n2/warm")
    come_back(cluster, "n3/cold")
    assert cluster.get("a") in (Outcome.LOST, 2, 3)
