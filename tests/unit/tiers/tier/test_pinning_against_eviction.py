"""A key that is pinned while another store evicts: it stays or has left, and nobody is told otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memories.errors import CapacityExceeded, KeyNotFound
from memories.tiers.cold_memory import ColdMemory
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.hot_memory import HotMemory
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory

GB = 0.0001
"""100,000 bytes: room for one value of 60,000, not for two."""
VALUE = bytes(range(256)) * 235

TIERS: dict[str, Callable[[Path], Tier]] = {
    "memory": lambda folder: Tier(MemoryBlobs(), capacity_bytes=100_000, on_full="evict"),
    "warm": lambda folder: WarmMemory(GB, on_full="evict"),
    "hot": lambda folder: HotMemory(GB, device="cpu", on_full="evict"),
    "cold": lambda folder: ColdMemory(GB, folder, on_full="evict"),
    "glacier": lambda folder: GlacierMemory("local", storage_path=folder, size_gb=GB, on_full="evict"),
}


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    with TIERS[request.param](tmp_path) as opened:
        opened.store("victim", VALUE, metadata={"n": 1})
        assert opened.query({"n": 1}) == ["victim"]
        yield opened


class Other(threading.Thread):
    """A call in another thread, which gets its turn; `outcome` is what it returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self.outcome: Any = None

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except (KeyNotFound, CapacityExceeded) as error:
            self.outcome = error

    def has_a_turn(self) -> None:
        """Let it run until it ends, or waits for a lock."""
        self.start()
        self.join(0.3)


def around(tier: Tier, name: str, other: Other, *, after: bool = False) -> None:
    method = getattr(tier._blobs, name)

    def interrupted(*arguments: Any) -> Any:
        setattr(tier._blobs, name, method)
        if not after:
            other.has_a_turn()
        result = method(*arguments)
        if after:
            other.has_a_turn()
        return result

    setattr(tier._blobs, name, interrupted)


def check(tier: Tier) -> None:
    assert tier.query({"n": 1}) == (["victim"] if tier.exists("victim") else [])
    assert len(tier) == 1
    assert tier.used_bytes <= 100_000


CHANGES: dict[str, Callable[[Tier], Any]] = {
    "pin": lambda tier: tier.pin("victim"),
    "set_metadata": lambda tier: tier.set_metadata("victim", {"n": 1, "more": True}),
    "delete": lambda tier: tier.delete("victim"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_comes_while_the_newcomer_is_stored(tier: Tier, change: str) -> None:
    other = Other(lambda: CHANGES[change](tier))
    around(tier, "put", other)
    tier.store("new", VALUE)
    other.join()
    assert list(tier.keys()) == ["new"]
    assert other.outcome is False if change == "delete" else isinstance(other.outcome, KeyNotFound)
    check(tier)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_store_that_comes_while_the_key_is_pinned(tier: Tier, moment: str) -> None:
    other = Other(lambda: tier.store("new", VALUE))
    around(tier, "update_found", other, after=moment == "after")
    assert tier.pin("victim").pinned
    other.join()
    assert isinstance(other.outcome, CapacityExceeded)
    assert list(tier.keys()) == ["victim"]
    check(tier)


def test_pins_and_stores_that_meet_by_chance() -> None:
    with WarmMemory(GB, on_full="evict") as tier:
        failures: list[str] = []

        def store(name: str) -> None:
            for number in range(300):
                tier.store(f"{name}/{number % 7}", bytes(9_000), metadata={"n": 1})

        def pin() -> None:
            for number in range(600):
                key = f"mine/{number % 7}"
                tier.store(key, bytes(9_000), metadata={"n": 1})
                try:
                    tier.pin(key)
                    if not tier.exists(key):
                        failures.append(f"{key} is gone though it was pinned")
                    tier.unpin(key)
                except KeyNotFound:
                    continue  # evicted before the pin

        threads = [threading.Thread(target=store, args=(name,)) for name in "ab"]
        threads.append(threading.Thread(target=pin))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(tier.query({"n": 1})) == sorted(tier.keys())
        assert tier.used_bytes <= 100_000
