"""Requests that want the same keys take turns in the order in which they came, and none waits for ever."""

from __future__ import annotations

import random
from collections import deque

import pytest

from memories.actors.core.commands import Command
from memories.actors.core.events import StoreMany
from memories.actors.core.model import RequestId, StoreOptions

from .perfect import PerfectCluster


class SlowCluster(PerfectCluster):
    """Commands are carried out when the test says so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.under_way: deque[Command] = deque()
        self.ended: list[RequestId] = []

    def begin(self, *keys: str) -> RequestId:
        request = self.request()
        store = StoreMany(request, keys, (1,) * len(keys), ("v",) * len(keys), StoreOptions(node="n1"))
        self.under_way.extend(self.core.handle(store))
        return request

    def step(self) -> None:
        self.under_way.extend(self._perform(self.under_way.popleft()))
        self.ended += [request for request in self.replies if request not in self.ended]


def test_who_wants_several_keys_is_not_passed_by_those_who_want_one() -> None:
    cluster = SlowCluster()
    cluster.begin("a")
    several = cluster.begin("a", "b")
    for number in range(20):
        cluster.begin("ba"[number % 2])
    while cluster.under_way:
        cluster.step()
    assert cluster.ended.index(several) == 1
    assert len(cluster.ended) == 22


@pytest.mark.parametrize("seed", range(20))
def test_every_request_ends_and_conflicting_ones_in_their_order(seed: int) -> None:
    draw = random.Random(seed)
    cluster = SlowCluster()
    asked: list[tuple[RequestId, set[str]]] = []
    for _ in range(120):
        keys = draw.sample("abcdefg", draw.choice((1, 1, 2, 4)))
        asked.append((cluster.begin(*keys), set(keys)))
        for _ in range(draw.choice((0, 0, 1, 3))):
            if cluster.under_way:
                cluster.step()
    while cluster.under_way:
        cluster.step()
    assert len(cluster.ended) == len(asked)
    ended = {request: place for place, request in enumerate(cluster.ended)}
    for later, (request, keys) in enumerate(asked):
        for earlier, others in asked[:later]:
            assert keys.isdisjoint(others) or ended[earlier] < ended[request]
    assert cluster.core.at_rest
    assert cluster.core.is_quiet
