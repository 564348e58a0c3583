"""A key that is pinned stays where it is, whatever the migrator had planned; its user may still move it."""

from __future__ import annotations

import asyncio

import pytest

from memories.actors.core import commands as cmd
from memories.actors.core import events as ev
from memories.actors.core.model import Outcome
from memories.actors.migration import Migration
from memories.actors.migrator import Migrator
from memories.actors.residents import Noted
from memories.tiers.policies import MigrationPolicy

from .perfect import PerfectCluster
from .test_moves import cluster_with_hot, holders


def begin_to_sink(cluster: PerfectCluster, *keys: str) -> ev.MoveMany:
    """The migrator's move is under way, and its copies take a while."""
    event = ev.MoveMany(cluster.request("migrator"), keys, "warm", unpinned_only=True)
    cluster.down.add("n1/warm")
    cluster.handle(event)
    return event


def end_copies(cluster: PerfectCluster) -> None:
    cluster.down.clear()
    for _ in range(10):
        cluster.tick(0.5)


def test_a_key_that_was_pinned_after_the_plan_does_not_sink() -> None:
    cluster = cluster_with_hot(1)
    cluster.store({"pinned": 1, "free": 2}, tier="hot")
    cluster.update("pinned", pinned=True)
    event = begin_to_sink(cluster, "pinned", "free")
    end_copies(cluster)
    assert cluster.replies[event.request].outcomes == (Outcome.STALE, Outcome.OK)
    assert holders(cluster, "pinned") == ["n1/hot"]
    assert holders(cluster, "free") == ["n1/warm"]


def test_a_key_that_is_pinned_during_the_copy_is_not_copied_again() -> None:
    cluster = cluster_with_hot(1)
    cluster.store({"k": "value"}, tier="hot")
    event = begin_to_sink(cluster, "k")
    assert cluster.update("k", pinned=True) is None
    cluster.sent.clear()
    end_copies(cluster)
    assert cluster.replies[event.request].outcomes == (Outcome.STALE,)
    assert holders(cluster, "k") == ["n1/hot"]
    assert cluster.get("k") == "value"
    copies = {command.fence.stamp for command in cluster.sent if isinstance(command, cmd.CopyMany)}
    assert len(copies) == 1
    assert "k" not in cluster.tiers["n1/warm"].slots
    assert cluster.core.at_rest


def test_a_key_that_is_pinned_when_it_has_moved_has_moved() -> None:
    cluster = cluster_with_hot(1)
    cluster.store({"k": "value"}, tier="warm", pinned=True)
    event = ev.MoveMany(cluster.request("migrator"), ("k",), "warm", unpinned_only=True)
    cluster.handle(event)
    assert cluster.replies[event.request].outcomes is None


def test_its_user_moves_a_pinned_key() -> None:
    cluster = cluster_with_hot(1)
    cluster.store({"k": "value"}, tier="hot", pinned=True)
    reply = cluster.move("k", tier="warm")
    assert reply is not None
    assert reply.outcomes is None
    assert holders(cluster, "k") == ["n1/warm"]


@pytest.mark.parametrize("pinned", [False, True])
def test_a_plan_of_the_migrator_is_carried_out_but_for_what_is_pinned_by_then(pinned: bool) -> None:
    cluster = cluster_with_hot(1)
    core = cluster.core
    migrator = Migrator(core.catalog, core.placement, lambda: cluster.now, MigrationPolicy())
    announced: list[cmd.Announce] = []

    async def ask(event: ev.ClientEvent) -> cmd.Reply:
        cluster.handle(event)
        return cluster.replies[event.request]

    cluster.store({"k": "value"}, tier="hot")
    migrator.note(Noted.STORED, ("k",))
    migrator.digest()
    cluster.now += 10
    (plan,) = migrator.plan()
    cluster.update("k", pinned=pinned)
    moved = asyncio.run(Migration(core, migrator, "owner", ask, announced.append)._move(plan))
    assert moved == (0 if pinned else 1)
    assert [command.what for command in announced] == ([] if pinned else ["evicted"])
    assert holders(cluster, "k") == (["n1/hot"] if pinned else ["n1/warm"])
    migrator.note(Noted.CHANGED, ("k",))
    migrator.digest()
    cluster.now += 10
    assert migrator.plan() == []
