"""What every tier promises, whatever is under it: one suite over all of them.

The cases come from `tests.support.tiers`; a new tier, file format or provider is one more case there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import (
    CapacityExceeded,
    Closed,
    InvalidKey,
    InvalidType,
    InvalidValue,
    KeyNotFound,
    PickleRefused,
)
from memories.tiers.tier import Tier
from tests.support.clock import ManualClock
from tests.support.tier_values import VALUES, assert_same
from tests.support.tiers import TierCase, load_cases

KB = 1024
CASES = load_cases()


def params(cases: list[TierCase]) -> list[Any]:
    """The cases as parameters: the slow ones are left out of the fast run."""
    return [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]


@pytest.fixture(params=params(CASES))
def case(request: pytest.FixtureRequest) -> TierCase:
    chosen: TierCase = request.param
    return chosen


only_evicting = pytest.mark.parametrize("case", params([c for c in CASES if c.evicts]), indirect=True)
only_durable = pytest.mark.parametrize("case", params([c for c in CASES if c.durable]), indirect=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tier(case: TierCase, clock: ManualClock, tmp_path: Path) -> Iterator[Tier]:
    with case.open(tmp_path, clock=clock) as opened:
        yield opened


def block(size_kb: int, fill: int = 0) -> np.ndarray[Any, Any]:
    """Bytes that do not compress, so that budgets mean the same in every tier."""
    return np.random.default_rng(fill).integers(0, 256, size_kb * KB, dtype=np.uint8)


class Custom:
    """Something that only pickle can hold."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


# Values


def test_every_kind_of_value_comes_back_as_it_was(tier: Tier) -> None:
    for name, make in VALUES.items():
        tier.store(name, make())
    for name, make in VALUES.items():
        assert_same(tier.retrieve(name), make())


def test_many_values_come_back_as_they_were(tier: Tier) -> None:
    tier.store_many({name: make() for name, make in VALUES.items()})
    values = tier.retrieve_many(VALUES)
    assert list(values) == list(VALUES)
    for name, make in VALUES.items():
        assert_same(values[name], make())


def test_a_stored_array_does_not_follow_the_callers_changes(tier: Tier) -> None:
    array = np.arange(5_000)
    nested = {"inner": np.ones(3_000)}
    tier.store("array", array)
    tier.store("nested", nested)
    array[:] = -1
    nested["inner"][:] = -1
    assert_same(tier.retrieve("array"), np.arange(5_000))
    assert_same(tier.retrieve("nested"), {"inner": np.ones(3_000)})


def test_a_stored_tensor_does_not_follow_the_callers_changes(tier: Tier) -> None:
    import torch

    tensor = torch.zeros(4_000)
    tier.store("tensor", tensor)
    tensor += 1
    read = tier.retrieve("tensor")
    assert torch.equal(read, torch.zeros(4_000))
    read += 5
    assert torch.equal(tier.retrieve("tensor"), torch.zeros(4_000))


def test_what_was_read_cannot_change_what_is_stored(tier: Tier) -> None:
    tier.store("array", np.arange(5_000))
    read = tier.retrieve("array")
    try:
        read[:] = -1
    except ValueError:
        assert not read.flags.writeable
    assert_same(tier.retrieve("array"), np.arange(5_000))


def test_copies_can_be_written_to(tier: Tier) -> None:
    tier.store("array", np.arange(5_000))
    mine = tier.retrieve("array", copy=True)
    mine[:] = -1
    assert_same(tier.retrieve("array"), np.arange(5_000))


def test_rows_of_an_array(tier: Tier) -> None:
    table = np.arange(4_000, dtype=np.float32).reshape(500, 8)
    tier.store("table", table)
    assert_same(tier.retrieve("table", partial=True, start=0, end=10), table[:10].copy())
    assert_same(tier.retrieve("table", partial=True, start=100, end=350), table[100:350].copy())
    assert_same(tier.retrieve("table", start=490), table[490:].copy())
    assert_same(tier.retrieve("table", start=10, end=10), table[10:10].copy())
    assert_same(tier.retrieve("table", rows=[499, 0, 7, 7]), table[[499, 0, 7, 7]].copy())
    assert_same(tier.retrieve("table", partial=True), table)


def test_rows_of_a_tensor(tier: Tier) -> None:
    import torch

    table = torch.arange(4_000.0).reshape(500, 8)
    tier.store("table", table)
    assert_same(tier.retrieve("table", start=3, end=40), table[3:40].clone())
    assert_same(tier.retrieve("table", rows=[4, 2]), table[[4, 2]])


def test_rows_of_what_has_none(tier: Tier) -> None:
    tier.store("mapping", {"a": 1, "b": 2})
    with pytest.raises((InvalidType, InvalidValue)):
        tier.retrieve("mapping", start=0, end=2)


def test_rows_that_are_not_there(tier: Tier) -> None:
    tier.store("table", np.zeros((10, 2)))
    with pytest.raises(InvalidValue):
        tier.retrieve("table", rows=[3, 10])
    with pytest.raises(InvalidValue):
        tier.retrieve("table", rows=[1], start=0)


# Keys


KEYS = [
    "plain",
    "../../etc/passwd",
    "/absolute",
    "a/b/c",
    "line\nbreak",
    "nul\x00byte",
    "\U0001f9e0",
    " ",
    ".",
    "..",
    "CON",
    "x" * 10_000,
    "\u00e9" * 32_767,
    "e\u0301",
    "\u00e9",
    "Upper",
    "upper",
    "\ud800",
]


def test_any_string_can_be_a_key(tier: Tier, tmp_path: Path) -> None:
    before = set(tmp_path.parent.iterdir())
    for number, key in enumerate(KEYS):
        tier.store(key, number)
    assert sorted(tier.keys()) == sorted(KEYS)
    assert len(tier) == len(KEYS)
    for number, key in enumerate(KEYS):
        assert key in tier
        assert tier.retrieve(key) == number
    assert set(tmp_path.parent.iterdir()) == before
    for key in KEYS:
        assert tier.delete(key)
    assert list(tier.keys()) == []


@pytest.mark.parametrize("key", ["", 7, None, b"bytes", ("a",), "x" * 65_536, "\u00e9" * 32_768])
def test_what_cannot_be_a_key_is_refused(tier: Tier, key: Any) -> None:
    for call in (
        lambda: tier.store(key, 1),
        lambda: tier.retrieve(key),
        lambda: tier.delete(key),
        lambda: tier.exists(key),
        lambda: tier.pin(key),
        lambda: tier.entry(key),
        lambda: tier.retrieve_many([key]),
        lambda: tier.store_many([("fine", 1), (key, 1)]),
    ):
        with pytest.raises(InvalidKey):
            call()
    assert len(tier) == 0


def test_keys_by_prefix(tier: Tier) -> None:
    for key in ("run/1/a", "run/1/b", "run/10", "other", "run"):
        tier.store(key, key)
    assert sorted(tier.keys("run/1")) == ["run/1/a", "run/1/b", "run/10"]
    assert sorted(tier.keys("run/1/")) == ["run/1/a", "run/1/b"]
    assert sorted(tier.keys("absent")) == []
    with pytest.raises(InvalidKey):
        tier.keys(None)  # type: ignore[arg-type]


def test_absent_keys(tier: Tier) -> None:
    tier.store("there", 1)
    with pytest.raises(KeyNotFound):
        tier.retrieve("absent")
    with pytest.raises(KeyError):
        tier.retrieve("absent", start=0, end=1)
    with pytest.raises(KeyNotFound):
        tier.retrieve_many(["there", "absent"])
    assert tier.retrieve_many(["there", "absent"], missing="skip") == {"there": 1}
    with pytest.raises(KeyNotFound):
        tier.entry("absent")
    with pytest.raises(KeyNotFound):
        tier.set_metadata("absent", {})
    assert not tier.exists("absent")
    assert "absent" not in tier
    assert tier.delete("absent") is False
    assert tier.delete_many(["absent", "there", "there"]) == 1


def test_replacing_and_deleting(tier: Tier) -> None:
    tier.store("key", block(4), metadata={"round": 1})
    first = tier.entry("key").version
    tier.store("key", "second")
    assert tier.retrieve("key") == "second"
    assert tier.entry("key").metadata == {}
    assert tier.entry("key").version > first
    assert len(tier) == 1
    assert tier.delete("key") is True
    assert tier.delete("key") is False
    with pytest.raises(KeyNotFound):
        tier.retrieve("key")
    tier.store("key", "third")
    assert tier.retrieve("key") == "third"


def test_clear(tier: Tier) -> None:
    tier.store_many({f"k{i}": block(1, i) for i in range(10)})
    tier.store("pinned", 1, pin=True)
    tier.clear()
    assert len(tier) == 0
    assert list(tier.keys()) == []
    tier.store("again", 1)
    assert tier.retrieve("again") == 1


def test_value_and_data_are_two_words_for_the_same(tier: Tier) -> None:
    tier.store("a", value=1)
    tier.store("b", data=None)
    tier.store(key="c", value=3)
    assert tier.retrieve_many(["a", "b", "c"]) == {"a": 1, "b": None, "c": 3}
    with pytest.raises(InvalidType):
        tier.store("d")
    with pytest.raises(InvalidType):
        tier.store("d", 1, data=2)
    assert "d" not in tier


# Metadata, priority, pins


def test_metadata_is_kept_and_copied(tier: Tier) -> None:
    metadata: dict[str, Any] = {
        "location": "San Francisco",
        "n": 3,
        "x": 1.5,
        "ok": True,
        "none": None,
        "tags": ["a", {"deep": [1]}],
    }
    tier.store("image", 1, metadata=metadata)
    metadata["tags"].append("later")
    assert tier.entry("image").metadata["tags"] == ["a", {"deep": [1]}]
    tier.set_metadata("image", {"location": "Oslo"})
    assert tier.entry("image").metadata == {"location": "Oslo"}
    assert tier.retrieve("image") == 1


def test_queries_follow_every_change(tier: Tier, clock: ManualClock) -> None:
    def places(*keys: str) -> None:
        assert sorted(tier.query({"place": "Oslo", "year": {"$gte": 2020}})) == sorted(keys)

    tier.store("a", 1, metadata={"place": "Oslo", "year": 2019})
    tier.store("b", 2, metadata={"place": "Oslo", "year": 2021})
    places("b")
    tier.store("c", 3, metadata={"place": "Oslo", "year": 2022}, ttl=10)
    tier.set_metadata("a", {"place": "Oslo", "year": 2025})
    places("a", "b", "c")
    assert tier.query({"place": "Oslo"}, sort="-year", limit=2) == ["a", "c"]
    tier.store("a", 1)
    places("b", "c")
    clock.advance(10)
    places("b")
    tier.delete("b")
    places()
    tier.store_many(
        [{"key": f"k{i}", "value": i, "metadata": {"place": "Oslo", "year": 2020 + i}} for i in range(3)]
    )
    places("k0", "k1", "k2")
    tier.clear()
    places()
    with pytest.raises((InvalidType, InvalidValue)):
        tier.query({"year": {"$above": 1}})


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": math.nan},
        {"x": [math.inf]},
        {"x": object()},
        {"x": np.arange(3)},
        {7: "x"},
        {"a": {7: "x"}},
        {"x": 2**64},
        {"x": {1, 2}},
        {"x": b"bytes"},
        {"x": CIRCLE},
        ["not", "a", "mapping"],
        "text",
    ],
)
def test_metadata_that_is_not_like_json_is_refused(tier: Tier, metadata: Any) -> None:
    tier.store("old", 1, metadata={"kept": True})
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store("old", 2, metadata=metadata)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.set_metadata("old", metadata)
    assert tier.retrieve("old") == 1
    assert tier.entry("old").metadata == {"kept": True}


@pytest.mark.parametrize(
    "arguments",
    [
        {"priority": math.nan},
        {"priority": math.inf},
        {"priority": -math.inf},
        {"priority": "high"},
        {"priority": True},
        {"priority": None},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": math.nan},
        {"ttl": math.inf},
        {"ttl": "5"},
        {"ttl": True},
        {"pin": 1},
        {"pin": "no"},
    ],
)
def test_arguments_that_cannot_be_are_refused(tier: Tier, arguments: dict[str, Any]) -> None:
    tier.store("old", 1)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store("old", 2, **arguments)
    with pytest.raises((InvalidType, InvalidValue)):
        tier.store_many([{"key": "new", "value": 1}, {"key": "old", "value": 2, **arguments}])
    assert tier.retrieve("old") == 1
    assert "new" not in tier


def test_priority_and_pin_are_kept(tier: Tier) -> None:
    tier.store("key", 1, priority=2.5, pin=True)
    assert tier.entry("key").priority == 2.5
    assert tier.entry("key").pinned
    assert not tier.unpin("key").pinned
    assert tier.pin("key").pinned
    assert tier.set_priority("key", -1).priority == -1.0
    assert tier.entry("key").pinned
    assert tier.retrieve("key") == 1


def test_several_items_in_every_form(tier: Tier) -> None:
    records = tier.store_many(
        [("a", 1), {"key": "b", "value": 2, "metadata": {"x": 1}, "priority": 3}, ("a", 4)]
    )
    assert [record.key for record in records] == ["a", "b", "a"]
    assert tier.retrieve_many(["a", "b"]) == {"a": 4, "b": 2}
    assert tier.entry("b").metadata == {"x": 1}
    assert tier.store_many([]) == []
    for wrong in (
        [1],
        "ab",
        [("a",)],
        [{"value": 1}],
        [{"key": "c", "value": 1, "colour": 2}],
        [{"key": "c"}],
        5,
    ):
        with pytest.raises((InvalidType, InvalidKey)):
            tier.store_many(wrong)  # type: ignore[arg-type]
    assert len(tier) == 2


# Time


def test_values_end_with_their_time_to_live(tier: Tier, clock: ManualClock) -> None:
    tier.store("short", 1, ttl=10)
    tier.store("long", 2, ttl=100)
    tier.store("forever", 3)
    clock.advance(9.5)
    assert tier.retrieve("short") == 1
    clock.advance(0.5)
    with pytest.raises(KeyNotFound):
        tier.retrieve("short")
    assert not tier.exists("short")
    assert sorted(tier.keys()) == ["forever", "long"]
    assert len(tier) == 2
    assert tier.delete("short") is False
    clock.advance(1_000)
    assert sorted(tier.keys()) == ["forever"]


def test_a_new_value_has_its_own_time_to_live(tier: Tier, clock: ManualClock) -> None:
    tier.store("key", 1, ttl=10)
    tier.store("key", 2)
    clock.advance(20)
    assert tier.retrieve("key") == 2
    tier.store("key", 3, ttl=5)
    tier.set_metadata("key", {"x": 1})
    clock.advance(5)
    assert "key" not in tier


def test_expired_values_free_their_bytes(tier: Tier, clock: ManualClock) -> None:
    tier.store("large", block(64), ttl=10)
    before = tier.used_bytes
    clock.advance(10)
    assert tier.expire() == 1
    assert tier.used_bytes <= before - 64 * KB
    assert tier.expire() == 0


# Budget


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


# Pickle


def test_objects_of_any_class_are_pickled(tier: Tier) -> None:
    tier.store("custom", Custom(7))
    assert tier.entry("custom").has_pickle
    assert tier.retrieve("custom") == Custom(7)


def test_pickle_can_be_refused(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock, allow_pickle=False) as tier:
        with pytest.raises(PickleRefused):
            tier.store("custom", Custom(7))
        with pytest.raises(PickleRefused):
            tier.store_many([("fine", 1), ("custom", {"deep": [Custom(7)]})])
        assert len(tier) == 0
        tier.store("fine", {"a": np.arange(3)})
        assert not tier.entry("fine").has_pickle


# Moving blobs, metrics, threads, lifetime


def test_blobs_can_move_from_tier_to_tier(tier: Tier, clock: ManualClock, tmp_path: Path) -> None:
    from memories.tiers.memory_blobs import MemoryBlobs

    with Tier(MemoryBlobs(), clock=clock) as other:
        for name, make in VALUES.items():
            tier.store(name, make(), metadata={"name": name}, priority=3, ttl=50)
            other.put_blob(tier.get_blob(name))
            record = other.entry(name)
            assert record.version == tier.entry(name).version
            assert (record.metadata, record.priority) == ({"name": name}, 3)
            assert_same(other.retrieve(name), make())
        tier.clear()
        for name, make in VALUES.items():
            tier.put_blob(other.get_blob(name))
            assert_same(tier.retrieve(name), make())
        clock.advance(50)
        assert len(tier) == 0


def test_metrics_count_what_happened(tier: Tier) -> None:
    tier.store("a", block(10))
    tier.store_many({"b": 1, "c": 2})
    tier.retrieve("a")
    tier.retrieve("b")
    tier.retrieve_many(["b", "c"])
    with pytest.raises(KeyNotFound):
        tier.retrieve("absent")
    tier.delete("b")
    metrics = tier.get_metrics()
    expected = {
        "stores": 3,
        "hits": 4,
        "misses": 1,
        "hit_rate": 0.8,
        "deletes": 1,
        "entries": 2,
        "evictions": 0,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert metrics["bytes_in"] >= 10 * KB
    assert metrics["bytes_out"] >= 10 * KB
    assert metrics["used_bytes"] == tier.used_bytes >= 10 * KB
    assert metrics["capacity_bytes"] == tier.capacity_bytes


def test_usage_is_a_percentage(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock, capacity_bytes=200 * KB) as tier:
        assert tier.get_metrics()["usage_percent"] == 0.0
        tier.store("half", block(100))
        usage = tier.get_metrics()["usage_percent"]
        assert usage == 100 * tier.used_bytes / (200 * KB)
        assert usage == pytest.approx(50, abs=1 if case.exact_bytes else 10)


def test_threads_see_whole_values(tier: Tier) -> None:
    """Writers, readers and deleters of the same few keys: a value is always one that was stored."""
    keys = [f"k{i}" for i in range(4)]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for _ in range(25):
                key = keys[random.integers(4)]
                match random.integers(4):
                    case 0 | 1:
                        tier.store(key, np.full(2_000, seed), metadata={"seed": seed})
                    case 2:
                        try:
                            value = tier.retrieve(key)
                        except KeyNotFound:
                            continue
                        assert value.shape == (2_000,)
                        assert (value == value[0]).all()
                    case 3:
                        tier.delete(key)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(tier) == len(list(tier.keys())) <= 4


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


@only_durable
def test_durable_tiers_are_there_again(case: TierCase, clock: ManualClock, tmp_path: Path) -> None:
    with case.open(tmp_path, clock=clock) as tier:
        for name, make in VALUES.items():
            tier.store(name, make(), metadata={"name": name}, priority=2, pin=True)
        tier.store("brief", 1, ttl=5)
        version = tier.entry("text").version
    clock.advance(5)
    with case.open(tmp_path, clock=clock) as tier:
        assert sorted(tier.keys()) == sorted(VALUES)
        for name, make in VALUES.items():
            assert_same(tier.retrieve(name), make())
            assert tier.entry(name).metadata == {"name": name}
            assert tier.entry(name).pinned
        tier.store("text", "newer")
        assert tier.entry("text").version > version


def test_a_closed_tier_says_so(case: TierCase, tmp_path: Path) -> None:
    with case.open(tmp_path) as tier:
        tier.store("key", 1)
        tier.close()
        tier.close()
        for call in (
            lambda: tier.store("key", 2),
            lambda: tier.retrieve("key"),
            lambda: tier.delete("key"),
            lambda: tier.exists("key"),
            lambda: list(tier.keys()),
            lambda: len(tier),
            lambda: tier.clear(),
            lambda: tier.entry("key"),
        ):
            with pytest.raises(Closed):
                call()


def test_a_snapshot_brings_everything_back(tier: Tier, tmp_path: Path) -> None:
    for name, make in VALUES.items():
        tier.store(name, make(), metadata={"name": name}, priority=2)
    path = tmp_path / "snapshot file"
    assert tier.create_snapshot(path, description="all").entries == len(VALUES)
    tier.clear()
    assert sorted(tier.restore_snapshot(path)) == sorted(VALUES)
    for name, make in VALUES.items():
        assert_same(tier.retrieve(name), make())
        assert (tier.entry(name).metadata, tier.entry(name).priority) == ({"name": name}, 2.0)
