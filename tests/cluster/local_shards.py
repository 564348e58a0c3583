"""Shard actors in the test's own process, without Ray: the real ones, with calls that answer at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from memories.actors import logs
from memories.actors.logs import LogSettings
from memories.actors.replay.core import events as ev
from memories.actors.replay.core.draws import Mass
from memories.actors.replay.core.model import Replica, ShardView
from memories.actors.replay.shard_actor import ReplayShard
from memories.actors.replay.spec import ReplaySpec
from memories.replay import Schema

SCHEMA = Schema({"row": "int64"})


@contextmanager
def own_logging() -> Iterator[None]:
    """An actor sets up the logging of its process: here that is the test's."""
    root = logging.getLogger(logs.ROOT)
    before = root.handlers[:], root.propagate, root.level
    try:
        yield
    finally:
        root.handlers[:], root.propagate = before[:2]
        root.setLevel(before[2])


class LocalShards:
    """Shard actors in this process. Stands in for the router: a call answers at once."""

    def __init__(self, shards: int, kind: str = "prioritized") -> None:
        self.loop = asyncio.new_event_loop()
        self.spec = ReplaySpec(
            name="local", schema=SCHEMA, kind=kind, capacity=1000 * shards, shards=shards, alpha=0.7, seed=5
        )
        self.shards: dict[int, ReplayShard] = {}
        self.away: set[int] = set()
        for shard in range(shards):
            self.add_shard(shard)

    def add_shard(self, shard: int) -> None:
        actor = object.__new__(ReplayShard)
        begin: Any = actor.__init__  # type: ignore[misc]
        with own_logging():
            self.loop.run_until_complete(
                begin("c", "ns", f"a{shard}", shard, "n", self.spec.to_json(), LogSettings())
            )
        me: Replica = actor._core.me
        self.loop.run_until_complete(actor.adopt(ShardView(shard, 1, me)))
        self.shards[shard] = actor

    def insert(self, shard: int, rows: np.ndarray, priorities: np.ndarray | None, number: int = 1) -> None:
        call = self.shards[shard].insert("w", shard, number, number, {"row": rows}, priorities)
        assert self.loop.run_until_complete(call) == ev.Done()

    def update(self, handles: np.ndarray, priorities: np.ndarray) -> None:
        for shard, actor in self.shards.items():
            mine = handles >> 51 == shard
            if mine.any():
                self.loop.run_until_complete(actor.update(handles[mine], priorities[mine]))

    def masses(self) -> dict[int, Mass]:
        return {shard: actor._mass() for shard, actor in self.shards.items() if shard not in self.away}

    # the router's part

    def primary(self, shard: int) -> Any:
        return None if shard in self.away else _Handle(self.loop, self.shards[shard])

    def learn_view(self, answer: ev.NotPrimary) -> None:
        raise AssertionError(answer)

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


class _Handle:
    def __init__(self, loop: asyncio.AbstractEventLoop, shard: ReplayShard) -> None:
        self.sample = self
        self._loop, self._shard = loop, shard

    def remote(self, count: int, seed: int | None) -> Any:
        return self._loop.run_until_complete(self._shard.sample(count, seed))
