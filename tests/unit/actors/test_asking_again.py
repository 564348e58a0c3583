"""A store that a new coordinator has to make safe before it may answer: who waits for it is answered, with
what is true, and nobody's call stays for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memories.actors import coordinator, wire
from memories.actors.coordinator import Coordinator
from memories.actors.core import commands as cmd
from memories.actors.core.events import StoreMany
from memories.actors.core.model import RequestId, StoreOptions
from memories.actors.cuts import Cuts
from memories.actors.pending import PendingRequests
from memories.errors import Unavailable

from .perfect import PerfectCluster


class NoMigration:
    async def make_room(self, event: Any) -> None: ...

    def note(self, *_: Any) -> None: ...


class Shell(Coordinator):
    """The actor's class over a perfect cluster instead of Ray's actors."""

    def __init__(self, cluster: PerfectCluster) -> None:
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()  # type: ignore[assignment]
        self._core = cluster.core
        self._pending = PendingRequests(self._loop, self._feed)
        self._started = self._loop.create_future()
        self._started.set_result(None)
        self._cuts, self._migration = Cuts(cluster.core), NoMigration()  # type: ignore[assignment]

    def _perform(self, command: cmd.Command) -> None:
        if isinstance(command, cmd.Reply | cmd.AskAgain):
            super()._perform(command)
            return
        for further in self._cluster._perform(command):
            self._perform(further)


def store_of_two_copies(cluster: PerfectCluster, **options: Any) -> StoreMany:
    """A store of which only the first copy was made when the coordinator died."""
    event = StoreMany(
        cluster.request(), ("key",), (10,), ("value",), StoreOptions(node="n1", replicas=2, **options)
    )
    cluster.down.add("n2/warm")
    cluster.handle(event)
    assert event.request not in cluster.replies
    return event


async def until(happens: Any) -> None:
    async with asyncio.timeout(10):
        while not happens():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_first_who_asks_the_next_coordinator_is_answered_as_well(attempts: int) -> None:
    cluster = PerfectCluster(2)
    event = store_of_two_copies(cluster)
    cluster.down.clear()
    cluster.start_coordinator()

    async def ask() -> None:
        shell = Shell(cluster)
        asked = [asyncio.create_task(shell.ask(event)) for _ in range(attempts)]
        await asyncio.sleep(0)
        for _ in range(8):
            cluster.tick()
        await until(lambda: all(task.done() for task in asked))
        for task in asked:
            reply = wire.load(task.result())
            assert (reply.outcomes, reply.copies, reply.durable) == (None, 2, False)
            assert reply.version == cluster.core.catalog.entries["key"].version
        assert len(shell._pending) == 0

    asyncio.run(ask())


def test_fewer_copies_are_an_answer_where_the_caller_accepts_them() -> None:
    cluster = PerfectCluster(1)
    request = cluster.request()
    first = cluster.store({"key": "value"}, request, replicas=2, allow_degraded=True)
    cluster.start_coordinator()
    again = cluster.store({"key": "value"}, request, replicas=2, allow_degraded=True)
    assert again is not None
    assert first is not None
    assert (again.outcomes, again.version, again.copies) == (None, first.version, 1)


def test_a_repeated_store_says_what_is_true_and_not_what_would_be_best() -> None:
    cluster = PerfectCluster(2)
    request = cluster.request()
    first = cluster.store({"key": "value"}, request)
    cluster.start_coordinator()
    again = cluster.store({"key": "value"}, request)
    assert again is not None
    assert first is not None
    assert (again.version, again.copies, again.durable) == (first.version, 1, False)


def test_calls_that_nobody_waits_for_any_more_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "GONE_AFTER_S", 0.05)
    cluster = PerfectCluster(2)
    event = store_of_two_copies(cluster)
    cluster.down.add("n2/cold")

    async def ask() -> None:
        shell = Shell(cluster)
        asked = asyncio.create_task(shell.ask(event))
        await asyncio.sleep(0.1)
        assert not asked.done()
        shell._pending.release_the_gone()
        with pytest.raises(Unavailable, match="not answered"):
            await asked
        assert len(shell._pending) == 0

    asyncio.run(ask())


def test_a_store_that_is_repeated_after_a_later_one_changes_nothing() -> None:
    cluster = PerfectCluster(1)
    request = RequestId("c", 7)
    cluster.store({"key": "one"}, request)
    cluster.store({"key": "two"}, RequestId("d", 1))
    cluster.start_coordinator()
    again = cluster.store({"key": "one"}, request)
    assert again is not None
    assert (again.outcomes, again.durable) == (None, False)
    assert cluster.get("key") == "two"
