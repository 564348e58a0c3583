"""What others see while expired values are being freed, and after that has failed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from memories.errors import CorruptData, StorageFull
from memories.tiers.cold_memory import ColdMemory
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory
from tests.support.clock import ManualClock


def fill(tier: Tier, clock: ManualClock) -> None:
    """Three values that have expired and one that stays, all in the metadata index."""
    tier.store_many([{"key": f"k{i}", "value": i, "ttl": 10, "metadata": {"n": 1}} for i in range(3)])
    tier.store("stays", 1, metadata={"n": 1})
    assert len(tier.query({"n": 1})) == 4
    clock.advance(20)


def check(tier: Tier) -> None:
    assert list(tier.keys()) == ["stays"]
    assert len(tier) == 1
    assert tier.query({"n": 1}) == ["stays"]


def test_after_a_failure_expired_keys_are_still_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    with ColdMemory(0.1, tmp_path, clock=clock) as tier:
        fill(tier, clock)

        def full(*arguments: Any) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr("memories.tiers.cold.segment.os.pwritev", full)
            with pytest.raises(StorageFull):
                tier.expire()
            assert list(tier.keys()) == ["stays"]
        assert tier.expire() == 3
        check(tier)


def test_other_threads_never_see_what_is_being_freed() -> None:
    clock = ManualClock()
    tier = Tier(MemoryBlobs(), clock=clock)
    fill(tier, clock)
    found = tier._blobs.remove_found
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []

    def look() -> None:
        try:
            check(tier)
        except AssertionError as error:
            failures.append(error)

    def interrupted(record: Any) -> bool:
        threads.append(threading.Thread(target=look))
        threads[-1].start()
        threads[-1].join(0.1)  # it ends, or waits for the key that is held here
        return found(record)

    tier._blobs.remove_found = interrupted  # type: ignore[method-assign]
    tier.expire()
    for thread in threads:
        thread.join()
    assert threads
    assert failures == []
    assert tier.get_metrics()["expirations"] == 3


def test_a_damaged_entry_does_not_stop_the_others_for_ever(tmp_path: Path) -> None:
    clock = ManualClock()
    with GlacierMemory("local", storage_path=tmp_path, clock=clock) as tier:
        fill(tier, clock)
        (head,) = tmp_path.rglob("keys/k0")
        head.write_bytes(b"damaged")
        with pytest.raises(CorruptData):
            tier.expire()
        assert tier.expire() == 2


def test_a_pool_takes_the_room_of_what_has_expired() -> None:
    clock = ManualClock()
    with WarmMemory(0.01, clock=clock) as warm:
        warm.store("a", bytes(8_000_000), ttl=5)
        clock.advance(10)
        warm.allocate_pool("pool", 5)
        warm.store("b", bytes(4_000_000), pool="pool", ttl=5)
        clock.advance(10)
        warm.allocate_pool("pool", 2)
