"""The awaitable methods in a driver and in an async actor, and the picture of a cluster."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
import ray

import memories
from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.picture import draw, in_words
from memories.errors import KeyNotFound


async def longest_pause_s(work: asyncio.Task[None]) -> float:
    """How long the loop was not free at most, while the work ran."""
    longest = 0.0
    while not work.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
        await asyncio.sleep(0.001)
    await work
    return longest


async def store_and_read_all(memory: MemoryManager) -> None:
    values = {f"k{i}": np.full(200_000, i) for i in range(24)}
    await asyncio.gather(*(memory.aio.store(key, value, tier="cold") for key, value in values.items()))
    back = await asyncio.gather(*(memory.aio.retrieve(key) for key in values))
    assert all(np.array_equal(a, b) for a, b in zip(values.values(), back, strict=True))
    assert await memory.aio.keys("k") == sorted(values)
    assert await memory.aio.delete_many(values) == len(values)


def test_calls_overlap_and_the_loop_is_never_blocked(memory: MemoryManager) -> None:
    async def run() -> tuple[float, float]:
        started_s = time.perf_counter()
        pause_s = await longest_pause_s(asyncio.create_task(store_and_read_all(memory)))
        return pause_s, time.perf_counter() - started_s

    pause_s, took_s = asyncio.run(run())
    # Encoding takes the interpreter's lock for moments; a blocking call would last as long as the call.
    assert pause_s < max(0.25, 0.5 * took_s)


def test_errors_come_out_of_the_await(memory: MemoryManager) -> None:
    async def run() -> None:
        with pytest.raises(KeyNotFound, match="'absent'"):
            await memory.aio.retrieve("absent")

    asyncio.run(run())


def test_cancelling_gives_up_waiting(memory: MemoryManager) -> None:
    async def run() -> None:
        cut = memory._client.begin_cut()  # whoever writes one of its keys waits
        task = asyncio.create_task(memory.aio.store("held", 2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        memory._client.read_cut(cut, (), last=True)

    memory.store("held", 1)
    asyncio.run(run())


def test_events_can_be_awaited(memory: MemoryManager) -> None:
    async def run() -> str:
        async for event in memory.aio.subscribe("moved"):
            return event.keys[0]
        return ""

    async def both() -> str:
        waiting = asyncio.create_task(run())
        while not memory._subscriptions:
            await asyncio.sleep(0.01)
        await memory.aio.store("mover", 1)
        await memory.aio.move("mover", "cold")
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(both()) == "mover"


def test_an_async_actor_uses_it(memory: MemoryManager, cluster: Cluster) -> None:
    @ray.remote
    class Worker:
        async def __init__(self, name: str) -> None:
            loop = asyncio.get_running_loop()
            self.cluster = await loop.run_in_executor(None, lambda: memories.connect("auto", name=name))
            self.memory = self.cluster.memory()

        async def work(self, i: int) -> int:
            await self.memory.aio.store(f"w{i}", i)
            return int(await self.memory.aio.retrieve(f"w{i}"))

    worker = Worker.remote(cluster.name)
    assert ray.get([worker.work.remote(i) for i in range(20)], timeout=120) == list(range(20))
    assert len(memory.keys("w")) == 20
    ray.kill(worker)


def test_a_picture_of_usage_and_flow(memory: MemoryManager, cluster: Cluster, tmp_path: Path) -> None:
    memory.store_many({f"p{i}": np.zeros(500_000) for i in range(8)}, tier="hot")
    memory._client.move_many([f"p{i}" for i in range(6)], "warm")
    memory._client.move_many(["p0", "p1", "p2"], "cold")
    memory._client.move_many(["p0"], "warm")
    figure = memory.visualize()
    path = tmp_path / "picture.png"
    figure.savefig(path)
    assert path.stat().st_size > 10_000
    snapshot = cluster.status()
    flows = {(flow.source, flow.target): flow.nbytes for flow in snapshot.flows if flow.what == "moved"}
    figure = draw(snapshot)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for source, target, least_bytes in (("hot", "warm", 24e6), ("warm", "cold", 12e6), ("cold", "warm", 4e6)):
        moved_bytes = flows[source, target]  # more than that where values have risen by themselves
        assert moved_bytes >= least_bytes
        said = f"moved {in_words(moved_bytes)}"
        assert any(f"{source} → {target}" in text and said in text for text in texts), texts
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted(label.split()[-1] for label in labels) == ["cold", "hot0", "warm"]
