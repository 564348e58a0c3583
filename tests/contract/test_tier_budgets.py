"""What every tier promises of its budget: one suite over all of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memories.errors import (
    CapacityExceeded,
    InvalidType,
    InvalidValue,
)
from memories.tiers.tier import Tier
from tests.support.clock import ManualClock
from tests.support.tier_values import assert_same
from tests.support.tiers import TierCase

from .conftest import KB, block, only_evicting


def test_the_budget_is_a_ceiling(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock, capacity_bytes=100 * KB) as tier:
        tier.store("a", block(40, 1))
        tier.store("b", block(40, 2))
        with pytest.raises(CapacityExceeded):
            tier.store("c", block(40, 3))
        with pytest.raises(MemoryError):
            tier.store("huge", block(400, 3))
        with pytest.raises(CapacityExceeded):
            tier.store("a", block(70, 4))
        assert sorted(tier.keys()) == ["a", "b"]
        assert_same(tier.retrieve("a"), block(40, 1))
        assert tier.used_bytes <= 100 * KB
        tier.store("a", block(50, 5))
        tier.delete("b")
        tier.store("c", block(40, 3))
        assert tier.get_metrics()["evictions"] == 0


def test_several_values_fit_together_or_none_is_stored(
    case: TierCase, clock: ManualClock, tmp_path: Path
) -> None:
    with case.open(tmp_path, clock=clock, capacity_bytes=100 * KB) as tier:
        with pytest.raises(CapacityExceeded):
            tier.store_many({f"k{i}": block(30, i) for i in range(4)})
        assert len(tier) == 0
        tier.store_many({f"k{i}": block(30, i) for i in range(3)})
        assert len(tier) == 3


def test_expired_values_make_room(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock, capacity_bytes=100 * KB) as tier:
        tier.store("old", block(60), ttl=1)
        clock.advance(2)
        tier.store("new", block(60))
        assert list(tier.keys()) == ["new"]


@pytest.fixture
def evicting(case: TierCase, clock: ManualClock, tmp_path: Path) -> Iterator[Tier]:
    with case.open(tmp_path, clock=clock, capacity_bytes=100 * KB, on_full="evict") as tier:
        yield tier


@only_evicting
def test_the_least_recently_used_leaves(evicting: Tier) -> None:
    for i in range(3):
        evicting.store(f"k{i}", block(30, i))
    evicting.retrieve("k0")
    evicting.store("new", block(30, 9))
    assert sorted(evicting.keys()) == ["k0", "k2", "new"]
    evicting.retrieve("k2", start=0, end=10)
    evicting.store("newer", block(30, 10))
    assert sorted(evicting.keys()) == ["k2", "new", "newer"]
    assert evicting.used_bytes <= 100 * KB
    assert evicting.get_metrics()["evictions"] == 2


@only_evicting
def test_low_priority_leaves_first(evicting: Tier) -> None:
    evicting.store("low", block(30, 1), priority=-1)
    evicting.store("high", block(30, 2), priority=5)
    evicting.store("middle", block(30, 3))
    evicting.retrieve("low")
    evicting.store("new", block(30, 4))
    assert sorted(evicting.keys()) == ["high", "middle", "new"]
    evicting.set_priority("middle", 9)
    evicting.store("newer", block(30, 5))
    assert sorted(evicting.keys()) == ["high", "middle", "newer"]


@only_evicting
def test_nobody_leaves_for_a_lower_priority(evicting: Tier) -> None:
    for i in range(3):
        evicting.store(f"k{i}", block(30, i), priority=1)
    with pytest.raises(CapacityExceeded):
        evicting.store("new", block(30, 9), priority=0)
    assert sorted(evicting.keys()) == ["k0", "k1", "k2"]
    evicting.store("new", block(30, 9), priority=1)
    assert sorted(evicting.keys()) == ["k1", "k2", "new"]


@only_evicting
def test_pinned_values_stay(evicting: Tier) -> None:
    for i in range(3):
        evicting.store(f"k{i}", block(30, i), pin=i == 0)
    evicting.pin("k1")
    evicting.store("new", block(30, 9))
    assert sorted(evicting.keys()) == ["k0", "k1", "new"]
    evicting.pin("new")
    with pytest.raises(CapacityExceeded):
        evicting.store("newer", block(30, 10), priority=100)
    assert sorted(evicting.keys()) == ["k0", "k1", "new"]
    evicting.unpin("k0")
    evicting.store("newer", block(30, 10))
    assert sorted(evicting.keys()) == ["k1", "new", "newer"]


@only_evicting
def test_what_can_never_fit_makes_nobody_leave(evicting: Tier) -> None:
    for i in range(3):
        evicting.store(f"k{i}", block(30, i))
    with pytest.raises(CapacityExceeded):
        evicting.store("huge", block(101), priority=9)
    with pytest.raises(CapacityExceeded):
        evicting.store_many({f"n{i}": block(40, i) for i in range(3)})
    assert sorted(evicting.keys()) == ["k0", "k1", "k2"]


@only_evicting
def test_replacing_a_value_counts_its_old_bytes_as_free(evicting: Tier) -> None:
    for i in range(3):
        evicting.store(f"k{i}", block(30, i))
    evicting.store("k0", block(31, 7))
    assert sorted(evicting.keys()) == ["k0", "k1", "k2"]
    evicting.store("k0", block(60, 8))
    assert sorted(evicting.keys()) == ["k0", "k2"]


@pytest.mark.parametrize("capacity", [0, -5, math.nan, "1GB", True])
def test_a_capacity_that_cannot_be_is_refused(case: TierCase, tmp_path: Path, capacity: Any) -> None:
    with pytest.raises((InvalidType, InvalidValue)), case.open(tmp_path, capacity_bytes=capacity):
        pass


def test_an_unknown_on_full_is_refused(case: TierCase, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue), case.open(tmp_path, on_full="explode"):
        pass


def test_usage_is_a_percentage(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock, capacity_bytes=200 * KB) as tier:
        assert tier.get_metrics()["usage_percent"] == 0.0
        tier.store("half", block(100))
        usage = tier.get_metrics()["usage_percent"]
        assert usage == 100 * tier.used_bytes / (200 * KB)
        assert usage == pytest.approx(50, abs=1 if case.exact_bytes else 10)


@only_evicting
def test_a_bounded_tier_stays_within_its_budget_under_threads(
    case: TierCase, clock: ManualClock, tmp_path: Path
) -> None:
    failures: list[BaseException] = []
    with case.open(tmp_path, clock=clock, capacity_bytes=100 * KB, on_full="evict") as tier:

        def work(seed: int) -> None:
            try:
                for number in range(12):
                    tier.store(f"{seed}/{number}", block(9, seed))
                    assert tier.get_metrics()["used_bytes"] <= 200 * KB
            except BaseException as error:  # noqa: BLE001 - handed to the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert tier.used_bytes <= 100 * KB
        for key in list(tier.keys()):
            assert_same(tier.retrieve(key), block(9, int(key.partition("/")[0])))
