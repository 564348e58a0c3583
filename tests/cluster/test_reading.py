"""Reads ask the coordinator and the likely tier at once, and map files themselves: never a stale value."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from memories.actors import reader
from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.core.model import Outcome
from memories.actors.memory_manager import MemoryManager
from memories.errors import CorruptData, KeyNotFound, Unavailable

from .conftest import MB
from .test_repair_and_disks import damage, members_of

LARGE = 3 * MB // 8


@pytest.fixture
def memory(cluster: Cluster) -> Iterator[MemoryManager]:
    manager = cluster.memory(timeout_s=30)
    yield manager
    manager.clear()
    manager.close()


@pytest.fixture
def writer(cluster: Cluster) -> Iterator[MemoryManager]:
    """Another process's view of the same memory: what it does, the first one is not told."""
    manager = cluster.memory(timeout_s=30)
    yield manager
    manager.close()


def numbers(seed: int, count: int = LARGE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 1 << 60, count)


def mapped_files() -> list[str]:
    gc.collect()  # what tests before this one have left in cycles
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "/values/" in line]


@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
@pytest.mark.parametrize("count", [10, LARGE], ids=["small", "large"])
def test_a_remembered_place_never_gives_an_older_value(
    memory: MemoryManager, writer: MemoryManager, tier: str, count: int
) -> None:
    for seed in range(8):
        writer.store("value", numbers(seed, count), tier=tier)
        assert np.array_equal(memory.retrieve("value"), numbers(seed, count))
        assert np.array_equal(memory.retrieve("value"), numbers(seed, count))
    writer.delete("value")
    with pytest.raises(KeyNotFound):
        memory.retrieve("value")
    writer.store("value", numbers(99, count), tier=tier)
    assert np.array_equal(memory.retrieve("value"), numbers(99, count))


def test_a_value_that_moves_is_found_wherever_it_is(memory: MemoryManager, writer: MemoryManager) -> None:
    value = numbers(1)
    writer.store("value", value, tier="warm")
    for tier in ("cold", "warm", "hot", "cold", "hot", "warm"):
        assert np.array_equal(memory.retrieve("value"), value)
        writer.move("value", tier)
    assert np.array_equal(memory.retrieve("value"), value)


def test_a_wrong_guess_is_not_believed(memory: MemoryManager) -> None:
    """The tier answers a guess with what it has; the value counts only where the coordinator names it."""
    memory.store("value", numbers(1, 10), tier="warm")
    memory.retrieve("value")
    guess = memory._client._reader.guess(["value"])
    assert guess is not None
    memory.store("value", numbers(2, 10), tier="warm")
    deadline = Deadline.after(30, "reading")
    (located,) = memory._client.locate_many(["value"])
    member, life = located.members[0]
    visit = reader.Visit(member, life, ("value",), (located.version,))
    assert guess.was_right(visit)  # the place is right, and what lay there before is not
    found, failures = memory._client._reader.visit([visit], deadline, False, guess)
    assert np.array_equal(found["value"], numbers(2, 10))
    assert failures == [{}]


def test_a_guess_survives_the_restart_of_the_tier(memory: MemoryManager) -> None:
    memory.store("value", numbers(3), durable=True, tier="cold")
    memory.store("small", numbers(4, 10), durable=True, tier="cold")
    for key in ("value", "small"):
        memory.retrieve(key)
    (member,) = members_of(memory, "value")
    actor = memory._client._connection.tier_actor(member, Deadline.after(30, "the tier"))
    ray.kill(actor, no_restart=False)
    assert np.array_equal(memory.retrieve("value", timeout_s=60), numbers(3))
    assert np.array_equal(memory.retrieve("small", timeout_s=60), numbers(4, 10))


def test_a_large_value_on_disk_is_mapped_and_keeps_its_bytes(
    memory: MemoryManager, writer: MemoryManager
) -> None:
    memory.store("value", numbers(5), tier="cold", pin=True)
    before = mapped_files()
    view = memory.retrieve("value")
    assert len(mapped_files()) == len(before) + 1
    assert not view.flags.writeable
    writer.store("value", numbers(6), tier="cold", pin=True)
    assert np.array_equal(memory.retrieve("value"), numbers(6))
    writer.delete("value")
    writer._client.compress("cold", "zstd", None)
    assert np.array_equal(view, numbers(5))
    with pytest.raises(KeyNotFound):
        memory.retrieve("value")
    del view
    assert len(mapped_files()) == len(before)


def test_a_file_that_has_gone_or_is_another_users_comes_from_the_tier(
    memory: MemoryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.store("value", numbers(7), tier="cold", pin=True)
    tried = []

    def refused(path: Path, key: str, version: Any) -> Any:
        tried.append(path)
        raise Unavailable(f"{path} is another user's")

    monkeypatch.setattr(reader, "_buffers_of_file", refused)
    assert np.array_equal(memory.retrieve("value"), numbers(7))
    assert len(tried) == 1


def test_damage_is_found_by_the_reader_that_maps(memory: MemoryManager, cluster: Cluster) -> None:
    memory.store("value", numbers(8), tier="cold", pin=True)
    assert np.array_equal(memory.retrieve("value"), numbers(8))
    (member,) = members_of(memory, "value")
    damage(cluster, member)
    with pytest.raises(CorruptData):
        memory.retrieve("value", timeout_s=10)
    assert memory._client.locate_many(["value"])[0].outcome in (Outcome.OK, Outcome.LOST, Outcome.CORRUPT)
