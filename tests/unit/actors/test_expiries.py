"""Keys with a time to live leave nothing behind, however often they change and however they go."""

from __future__ import annotations

import pytest

from memories.actors.core import commands as cmd
from memories.actors.core.events import MemberJoined, MemberLost
from memories.actors.core.model import Kind, Outcome
from memories.actors.migrator import Migrator
from memories.actors.residents import Noted
from memories.tiers.policies import MigrationPolicy

from .perfect import PerfectCluster

WALL_S = 1e9
"""What the cluster's wall clock shows when its own clock is at 0."""
DAY_S = 86_400
FEW = 1100
"""So many times may be kept whatever they are worth."""


@pytest.mark.parametrize("ticks", [False, True])
def test_times_that_do_not_count_any_more_are_not_kept(ticks: bool) -> None:
    cluster = PerfectCluster(1)
    for number in range(3000):
        cluster.store({"latest": number}, expires_s=WALL_S + cluster.now + DAY_S)
        cluster.update("latest", pinned=bool(number % 2))
        if ticks:
            cluster.tick()
        else:
            cluster.now += 0.01
        assert len(cluster.core.expiries) < FEW
    assert cluster.get("latest") == 2999
    cluster.tick(DAY_S)
    assert cluster.core.catalog.entries["latest"].kind is Kind.TOMBSTONE


def test_at_most_about_twice_as_many_times_are_kept_as_keys_expire_and_each_expires_in_its_time() -> None:
    cluster = PerfectCluster(1)
    keys = [f"k{number}" for number in range(2000)]
    stored_s = 0.0
    for _ in range(5):
        stored_s = cluster.now
        for number, key in enumerate(keys):
            cluster.store({key: number}, expires_s=WALL_S + cluster.now + 1000 + number)
        assert len(cluster.core.expiries) <= 2.5 * len(keys)
        cluster.tick()
    cluster.now = stored_s + 1999.5
    for _ in range(3):
        cluster.tick(0)
    left = [key for key, entry in cluster.core.catalog.entries.items() if entry.kind is Kind.VALUE]
    assert left == keys[1000:]


def test_keys_that_are_deleted_before_their_time_leave_no_times_behind() -> None:
    cluster = PerfectCluster(1)
    for number in range(3000):
        cluster.store({f"k{number}": number}, expires_s=WALL_S + cluster.now + DAY_S)
    cluster.delete(*(f"k{number}" for number in range(3000)))
    for _ in range(800):
        cluster.tick()
    assert len(cluster.core.catalog.entries) == 0
    assert len(cluster.core.expiries) < FEW


def test_a_key_that_is_changed_while_times_are_sorted_out_expires_then() -> None:
    cluster = PerfectCluster(1)
    for number in range(1023):
        cluster.store({f"k{number}": number}, expires_s=WALL_S + 1000)
    cluster.store({"k0": "later"}, expires_s=WALL_S + 5000)
    cluster.store({"k1": "sooner"}, expires_s=WALL_S + 10)
    cluster.store({"k2": "sooner"}, expires_s=WALL_S + 10)
    cluster.update("k2", expires_s=WALL_S + 1000)
    cluster.update("k3", expires_s=None)
    cluster.now = 11
    for _ in range(3):
        cluster.tick()
    assert cluster.core.catalog.entries["k1"].kind is Kind.TOMBSTONE
    assert cluster.get("k2") == "sooner"
    cluster.now = 1001
    for _ in range(3):
        cluster.tick()
    left = {key for key, entry in cluster.core.catalog.entries.items() if entry.kind is Kind.VALUE}
    assert left == {"k0", "k3"}


def test_policies_forget_what_has_expired() -> None:
    """A round of migration comes while the members have not answered yet."""
    cluster = PerfectCluster(1)
    migrator = Migrator(cluster.core.catalog, cluster.core.placement, lambda: cluster.now, MigrationPolicy())
    expired: list[str] = []

    def listen() -> None:
        for command in cluster.sent:
            if isinstance(command, cmd.Announce) and command.what == "expired":
                migrator.note(Noted.CHANGED, command.keys)
                expired.extend(command.keys)
        cluster.sent.clear()
        migrator.digest()

    keys = {f"k{number}": number for number in range(100)}
    cluster.store(keys, expires_s=WALL_S + cluster.now + 1)
    migrator.note(Noted.STORED, tuple(keys))
    listen()
    assert len(migrator._residents.policies["n1/warm"]) == 100
    cluster.down.add("n1/warm")
    cluster.tick(1.5)
    listen()
    assert expired == []  # they are still there
    cluster.down.clear()
    for _ in range(12):
        cluster.tick()
        listen()
    assert sorted(expired) == sorted(keys)
    assert len(migrator._residents.policies["n1/warm"]) == 0
    assert not migrator._residents._homes


def test_what_is_lost_with_its_node_is_absent_after_its_time_and_its_marks_go() -> None:
    cluster = PerfectCluster(2)
    keys = [f"k{number}" for number in range(10)]
    cluster.store(dict.fromkeys(keys, 1), tier="warm", expires_s=WALL_S + cluster.now + 10)
    cluster.store({"for ever": 1}, tier="warm")
    cluster.handle(MemberLost("n1/warm", 1))
    cluster.handle(MemberJoined(cluster.add_member("n1", "warm").info))
    cluster.tick()
    assert cluster.get("k0") is Outcome.LOST
    assert len(cluster.tiers["n1/cold"].slots) == 11
    cluster.tick(10)
    assert cluster.get("k0") is Outcome.MISSING
    assert cluster.get("for ever") is Outcome.LOST
    for _ in range(2):
        cluster.tick(200)
    assert list(cluster.core.catalog.entries) == ["for ever"]
    assert list(cluster.tiers["n1/cold"].slots) == list(cluster.tiers["n2/cold"].slots) == ["for ever"]
