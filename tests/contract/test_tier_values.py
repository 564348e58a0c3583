"""What every tier promises of values and keys: one suite over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import (
    InvalidKey,
    InvalidType,
    InvalidValue,
    KeyNotFound,
    PickleRefused,
)
from memories.tiers.tier import Tier
from tests.support.clock import ManualClock
from tests.support.tier_values import VALUES, assert_same
from tests.support.tiers import TierCase

from .conftest import block


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
