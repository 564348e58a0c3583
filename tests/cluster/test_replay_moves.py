"""Shards that give their rows away: the real actors, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from memories.actors.replay import mover as mover_module
from memories.actors.replay.core import events as ev
from memories.actors.replay.core.model import Layout, ShardView
from memories.actors.replay.mover import Mover

from .local_shards import LocalShards


@pytest.fixture
def shards() -> Iterator[LocalShards]:
    made = LocalShards(3)
    yield made
    made.close()


class _Calls:
    """The methods of a shard as Ray shows them; some answers are lost."""

    def __init__(self, actor: Any, lose: Any) -> None:
        self._actor, self._lose = actor, lose

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            answer = await getattr(self._actor, name)(*arguments)
            return None if self._lose() else answer

        return type("Method", (), {"remote": staticmethod(call)})


def contents(shards: LocalShards) -> list[tuple[int, float]]:
    found = []
    for actor in shards.shards.values():
        buffer = actor._core.rows.buffer
        handles = buffer.handles()
        if handles.size:
            rows = buffer.read(handles)[0]["row"]
            found += list(zip(rows.tolist(), buffer.priorities_of(handles).tolist(), strict=True))
    return sorted(found)


def start_mover(shards: LocalShards, shard: int, told: list[Any], lose: Any = lambda: False) -> Mover:
    actor = shards.shards[shard]
    views = tuple(ShardView(s, 1, a._core.me) for s, a in shards.shards.items())
    layout = Layout(1, views, draining=(shard,))
    by_actor = {a._core.me.actor: a for a in shards.shards.values()}

    async def ask_directory(what: str, *arguments: Any) -> Any:
        if what == "layout":
            return layout
        told.append((what, *arguments))
        return None

    async def find_actor(name: str) -> Any:
        return _Calls(by_actor[name], lose)

    return Mover(shard, shards.spec, actor._core.rows, actor._propose, ask_directory, find_actor)


def test_rows_move_once_with_their_priorities(shards: LocalShards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where answers are lost, and the mover is ended and begun again in the middle."""
    monkeypatch.setattr(mover_module, "ROWS_A_MOVE", 7)
    monkeypatch.setattr(mover_module, "PAUSE_S", 0.001)
    rng = np.random.default_rng(0)
    rows = np.arange(200)
    shards.insert(0, rows, rows + 1.0)
    shards.insert(1, np.arange(200, 230), np.arange(200, 230) + 1.0)
    before = contents(shards)
    told: list[Any] = []
    for _ in range(100):  # one life of the primary after the other
        mover = start_mover(shards, 0, told, lambda: rng.random() < 0.3)
        task = shards.loop.create_task(mover.run())

        async def some_time(task: Any = task) -> None:
            for _ in range(int(rng.integers(1, 40))):
                if task.done():
                    return
                await asyncio.sleep(0)
            if len(told) == 0 and not task.done():
                task.cancel()

        shards.loop.run_until_complete(some_time())
        if told:
            break
    else:
        shards.loop.run_until_complete(start_mover(shards, 0, told).run())
    assert told[-1] == ("drained", "local", 0, 1)
    assert len(shards.shards[0]._core.rows.buffer) == 0
    assert contents(shards) == before
    assert len(shards.shards[2]._core.rows.buffer) > 50


def test_batches_of_a_drained_shard_are_known_to_its_heir(shards: LocalShards) -> None:
    shards.insert(0, np.arange(10), np.ones(10), number=1)
    told: list[Any] = []
    shards.loop.run_until_complete(start_mover(shards, 0, told).run())
    before = contents(shards)

    def send(shard: int, number: int, first: int) -> Any:
        columns = {"row": np.arange(first, first + 10)}
        call = shards.shards[shard].insert("w", 0, number, 1, columns, np.ones(10))
        return shards.loop.run_until_complete(call)

    assert isinstance(send(0, 2, 10), ev.NotPrimary)  # it is closed
    assert send(1, 1, 0) == ev.Done()  # taken before, by the other one
    assert contents(shards) == before
    assert send(1, 2, 10) == ev.Done()
    assert len(contents(shards)) == 20
