"""Cuts: who waits for whom, and for how long. A coordinator core is only asked whether it is quiet."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from memories.actors.core.catalog import Catalog, Entry
from memories.actors.core.model import Kind, StoreOptions, Version
from memories.actors.cuts import BARRIER_S, HOLD_S, LEASE_S, Cuts
from memories.errors import Unavailable


class World:
    def __init__(self, *keys: str) -> None:
        self.now_s = 0.0
        catalog = Catalog()
        catalog.add_member("m")
        for number, key in enumerate(keys, 1):
            entry = Entry(Version(1, number), Kind.VALUE, 1, (), StoreOptions())
            catalog.put(key, entry, ("m",), ())
        self.core: Any = SimpleNamespace(
            catalog=catalog, is_quiet=True, doubts=SimpleNamespace(dark={}), wall_clock=lambda: 1e9
        )
        self.cuts = Cuts(self.core, lambda: self.now_s)


async def waiting(task: asyncio.Task[None]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


def test_a_writer_waits_for_its_own_keys_only_and_until_they_are_read() -> None:
    async def run() -> None:
        world = World("a", "b", "c")
        cut = await world.cuts.begin()
        assert set(cut.keys) == {"a", "b", "c"}
        await world.cuts.wait(("new",))
        writer = asyncio.create_task(world.cuts.wait(("b", "new")))
        assert await waiting(writer)
        assert world.cuts.read(cut.id, ("a",)) == ("b",)
        assert await waiting(writer)
        assert world.cuts.read(cut.id, ("b",)) == ()
        await asyncio.wait_for(writer, 5)

    asyncio.run(run())


def test_no_write_begins_while_a_cut_waits_for_those_under_way() -> None:
    async def run() -> None:
        world = World("a")
        world.core.is_quiet = False
        begun = asyncio.create_task(world.cuts.begin())
        assert await waiting(begun)  # type: ignore[arg-type]
        writer = asyncio.create_task(world.cuts.wait(("new",)))
        assert await waiting(writer)
        world.core.is_quiet = True
        assert (await asyncio.wait_for(begun, 5)).keys == ("a",)
        await asyncio.wait_for(writer, 5)

    asyncio.run(run())


def test_a_write_that_does_not_end_makes_the_cut_give_up_and_lets_writers_go_on() -> None:
    async def run() -> None:
        world = World("a")
        world.core.is_quiet = False
        begun = asyncio.create_task(world.cuts.begin())
        writer = asyncio.create_task(world.cuts.wait(("a",)))
        assert await waiting(writer)
        world.now_s += BARRIER_S
        with pytest.raises(Unavailable, match="under way"):
            await asyncio.wait_for(begun, 5)
        await asyncio.wait_for(writer, 5)

    asyncio.run(run())


@pytest.mark.parametrize("passes_s", [HOLD_S, LEASE_S])
def test_a_writer_that_waited_long_enough_releases_the_cut(passes_s: float) -> None:
    async def run() -> None:
        world = World("a", "b")
        cut = await world.cuts.begin()
        writer = asyncio.create_task(world.cuts.wait(("a",)))
        assert await waiting(writer)
        world.now_s += passes_s
        await asyncio.wait_for(writer, 5)
        await world.cuts.wait(("b",))
        assert world.cuts.read(cut.id, ("a",)) == ()

    asyncio.run(run())


def test_a_cut_that_is_not_heard_of_is_released_without_any_writer() -> None:
    async def run() -> None:
        world = World("a")
        await world.cuts.begin()
        world.now_s += LEASE_S
        world.cuts.expire()
        await asyncio.wait_for(world.cuts.wait(("a",)), 1)

    asyncio.run(run())
