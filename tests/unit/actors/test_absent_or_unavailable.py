"""What cannot be said at present is `Unavailable`, and never an empty answer, False or `KeyNotFound`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from memories.actors.client import MemoryClient
from memories.actors.coordinator import Coordinator
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.events import MemberLost, Start
from memories.actors.memory_manager import MemoryManager
from memories.errors import InvalidKey, KeyNotFound, Unavailable
from memories.tiers.metrics import Counters

from .perfect import PerfectCluster


class Wire:
    """A connection to a perfect cluster."""

    node = "n1"
    timeout_s = 0.1

    def __init__(self, cluster: PerfectCluster) -> None:
        self._cluster = cluster
        self.next_request = cluster.request

    def check_usable(self) -> None: ...

    def timeout_or_default(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else timeout_s

    def ask(self, event: Any, what: str, timeout_s: float | None) -> Any:
        self._cluster.handle(event)
        return self._cluster.replies.pop(event.request)

    def members(self, deadline: Any, *, all_known: bool) -> Any:
        shell = Coordinator.__new__(Coordinator)
        shell._core, shell.cluster = self._cluster.core, "test"

        async def ask() -> Any:
            shell._started = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
            shell._started.set_result(None)  # type: ignore[attr-defined]
            async with asyncio.timeout(0.3):
                return await shell.members(all_known)

        return asyncio.run(ask())


def manager_of(cluster: PerfectCluster) -> MemoryManager:
    manager = MemoryManager.__new__(MemoryManager)
    manager._closed = False
    client = manager._client = MemoryClient.__new__(MemoryClient)
    client._connection = Wire(cluster)  # type: ignore[assignment]
    client.node, client.counters = "n1", Counters()
    return manager


@pytest.fixture
def cluster() -> PerfectCluster:
    """The only node that has "key" is down, and its disk is away."""
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, tier="cold", node="n1")
    for member in ("n1/cold", "n1/warm"):
        cluster.down.add(member)
        cluster.handle(MemberLost(member, cluster.tiers[member].info.incarnation))
    for _ in range(4):
        cluster.tick()
    return cluster


ASK: list[Callable[[MemoryManager], Any]] = [
    lambda memory: memory.exists("key"),
    lambda memory: "key" in memory,
    lambda memory: memory.get_tier("key"),
]


@pytest.mark.parametrize("ask", ASK)
def test_a_key_on_a_disk_that_is_away(cluster: PerfectCluster, ask: Callable[[MemoryManager], Any]) -> None:
    with pytest.raises(Unavailable, match="'key' cannot be reached now"):
        ask(manager_of(cluster))


def test_it_is_listed_while_it_is_known_to_be_there(cluster: PerfectCluster) -> None:
    memory = manager_of(cluster)
    assert memory.keys() == memory.keys("ke") == ["key"]
    assert memory.keys("other") == []
    assert not memory.exists("never stored")
    with pytest.raises(KeyNotFound):
        memory.get_tier("never stored")


def test_nobody_knows_what_is_there_after_the_coordinator_has_restarted(cluster: PerfectCluster) -> None:
    cluster.start_coordinator()
    for _ in range(40):
        cluster.tick()
    memory = manager_of(cluster)
    for ask in (memory.keys, memory.query, memory.clear, *(lambda ask=ask: ask(memory) for ask in ASK)):
        with pytest.raises(Unavailable, match=r"n1/cold|'key'"):
            ask()
    assert memory._client.keys(all_known=False) == ()


def test_a_query_waits_for_the_catalog() -> None:
    cluster = PerfectCluster(2)
    cluster.store({"key": "value"}, durable=True)
    cluster.down = set(cluster.tiers)
    cluster.core = CoordinatorCore("next", lambda: cluster.now, lambda: 1e9 + cluster.now, cluster.config)
    cluster.handle(Start(cluster.log[-1], tuple(tier.info for tier in cluster.tiers.values())))
    with pytest.raises(TimeoutError):
        manager_of(cluster).query({})


@pytest.mark.parametrize("prefix", [None, 5, b"key"])
def test_a_prefix_is_text(prefix: Any) -> None:
    with pytest.raises(InvalidKey, match="prefix must be a string"):
        manager_of(PerfectCluster(1)).keys(prefix)
