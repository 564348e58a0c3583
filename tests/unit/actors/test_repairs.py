"""Copies after the loss of nodes: bounded work an event, few at a time for a member, all in the end."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import pytest

from memories.actors.core.commands import Command, CopyMany
from memories.actors.core.events import MemberJoined, MemberLost

from .perfect import PerfectCluster

LIMIT = 2
BATCH = 8


class SlowCopies(PerfectCluster):
    """Copies are carried out one by one, when the test says so."""

    def __init__(self, nodes: int, **config: Any) -> None:
        self.copies: deque[CopyMany] = deque()
        super().__init__(nodes, transfers_in_flight=LIMIT, transfer_keys=BATCH, **config)

    def _perform(self, command: Command) -> list[Command]:
        if isinstance(command, CopyMany) and command.fence.member not in self.down:
            self.copies.append(command)
            return []
        return super()._perform(command)

    def copy_next(self) -> None:
        queue = deque(super()._perform(self.copies.popleft()))
        while queue:
            queue.extend(self._perform(queue.popleft()))

    def at_rest(self) -> bool:
        """Whether it comes to rest without a further copy: what was copied is looked at once more."""
        for _ in range(50):
            self.tick()
        return self.core.transfers.idle and not self.copies

    def lose(self, node: str) -> None:
        for tier in ("warm", "cold"):
            self.down.add(f"{node}/{tier}")
            self.handle(MemberLost(f"{node}/{tier}", 1))


def with_keys(cluster: SlowCopies, count: int, nodes: int) -> None:
    for number in range(count):
        node = f"n{number % nodes + 1}"
        assert cluster.store({f"k{number}": number}, node=node, replicas=2).outcomes is None


@pytest.mark.parametrize("nodes", [3, 8])
def test_every_key_gets_its_copy_and_no_member_has_more_copies_than_it_may(nodes: int) -> None:
    cluster = SlowCopies(nodes)
    with_keys(cluster, 240, nodes)
    cluster.lose("n2")
    seen = 0
    while cluster.copies:
        seen += 1
        assert max(Counter(copy.fence.member for copy in cluster.copies).values()) <= LIMIT
        assert max(Counter(copy.source for copy in cluster.copies).values()) <= LIMIT
        assert max(len(copy.keys) for copy in cluster.copies) <= BATCH
        cluster.copy_next()
    for entry in cluster.core.catalog.entries.values():
        assert len({member.split("/")[0] for member in entry.holders}) == 2
    assert cluster.at_rest()
    assert seen < 240 / BATCH * nodes  # in batches


def test_one_event_begins_no_more_than_its_share() -> None:
    cluster = SlowCopies(8)
    with_keys(cluster, 240, 8)
    cluster.lose("n2")
    begun = sum(len(copy.keys) for copy in cluster.copies)
    assert 0 < begun <= 2 * LIMIT * BATCH  # two members were lost, each with an event of its own
    assert not cluster.core.transfers.idle


def test_keys_that_wait_for_a_busy_member_go_on_when_it_is_lost_too() -> None:
    cluster = SlowCopies(4)
    with_keys(cluster, 300, 4)
    cluster.lose("n1")
    for _ in range(10):
        cluster.tick()
    busy = cluster.copies[0].source.split("/")[0]
    cluster.lose(busy)
    cluster.copies = deque(copy for copy in cluster.copies if copy.fence.member not in cluster.down)
    cluster.unreachable.update({f"{busy}/warm", f"{busy}/cold"})
    while cluster.copies:
        cluster.copy_next()
        cluster.tick(1.0)
    lost = 0
    for entry in cluster.core.catalog.entries.values():
        lost += not entry.holders
        assert len({member.split("/")[0] for member in entry.holders}) in (0, 2)
    assert lost < 300 / 2
    assert cluster.at_rest()


def test_keys_without_a_place_go_on_when_a_node_comes() -> None:
    cluster = SlowCopies(2)
    with_keys(cluster, 100, 2)
    cluster.lose("n2")
    assert not cluster.copies
    cluster.add_member("n3", "warm")
    cluster.handle(MemberJoined(cluster.tiers["n3/warm"].info))
    while cluster.copies:
        assert len(cluster.copies) <= LIMIT
        cluster.copy_next()
    assert all(len(entry.holders) == 2 for entry in cluster.core.catalog.entries.values())
