"""Keys of calls: equal arguments have one key, different ones have keys of their own, at every depth."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memories.errors import InvalidType
from memories.tiers.memo_keys import CallKeys, comparable
from memories.tiers.memo_stores import TierStore
from memories.tiers.memoize import memoize
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier


class Point(NamedTuple):
    x: Any
    y: Any


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Left:
    x: Any


@dataclass
class Right:
    x: Any


@dataclass(frozen=True)
class Frozen:
    x: Any


class Text(str):
    __slots__ = ()


class Weights(torch.Tensor):
    pass


PARTS: list[Callable[[], Any]] = [
    list,
    dict,
    set,
    frozenset,
    tuple,
    lambda: [1, 2],
    lambda: (1, 2),
    lambda: {1, 2},
    lambda: frozenset({1, 2}),
    lambda: {1: 2},
    lambda: [(1, 2)],
    lambda: ([1, 2],),
    lambda: [[1, 2]],
    lambda: [1, [2]],
    lambda: ["list", 1, 2],
    lambda: ["set", 1, 2],
    lambda: ("plain", [1, 2]),
    lambda: ("dict", 1, 2),
    lambda: OrderedDict({1: 2}),
    lambda: {"a": []},
    lambda: {"a": {}},
    lambda: {"a": None},
    lambda: {"a": set()},
    lambda: {1: "a"},
    lambda: {True: "a"},
    lambda: {1.0: "a"},
    lambda: {"1": "a"},
    lambda: {b"1": "a"},
    lambda: 1,
    lambda: True,
    lambda: 1.0,
    lambda: 1 + 0j,
    lambda: 0.0,
    lambda: -0.0,
    lambda: complex(0.0, 0.0),
    lambda: complex(0.0, -0.0),
    lambda: complex(-0.0, 0.0),
    lambda: float("nan"),
    lambda: None,
    lambda: "1",
    lambda: b"1",
    lambda: bytearray(b"1"),
    lambda: Text("1"),
    lambda: np.int64(1),
    lambda: np.int32(1),
    lambda: np.float64(1),
    lambda: np.bool_(True),
    lambda: np.str_("1"),
    lambda: Point(1, 2),
    lambda: Point(True, 2),
    lambda: Pair(1, 2),
    lambda: Left(1),
    lambda: Left(2),
    lambda: Right(1),
    lambda: Frozen(1),
    lambda: array("i", [1, 2]),
    lambda: array("l", [1, 2]),
    lambda: np.zeros((2, 3)),
    lambda: np.zeros((3, 2)),
    lambda: np.zeros(6),
    lambda: np.zeros(6, np.int64),
    lambda: np.zeros(6, ">f8"),
    lambda: np.zeros(6, "M8[s]"),
    lambda: np.arange(6).reshape(2, 3),
    lambda: np.arange(6).reshape(2, 3)[::-1],
    lambda: np.arange(6).reshape(3, 2).T,
    lambda: np.arange(12)[::2],
    lambda: torch.zeros(6, dtype=torch.int64),
    lambda: torch.zeros(6, dtype=torch.float64),
    lambda: torch.zeros(6, dtype=torch.float32),
    lambda: torch.zeros(6, dtype=torch.int32),
    lambda: torch.zeros(2, 3),
    lambda: torch.nn.Parameter(torch.zeros(2, 3)),
    lambda: int,
    lambda: "builtins.int",
]
"""No two of these are the same argument."""

WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    "by itself": lambda part: part,
    "in a list": lambda part: [part],
    "in a tuple": lambda part: (part, 1),
    "in a named tuple": lambda part: Point(part, 1),
    "in a mapping": lambda part: {"a": part},
    "three deep": lambda part: {"a": [{"b": (part,)}]},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_no_two_different_arguments_are_one_call_at_any_depth(name: str) -> None:
    wrap = WRAPPINGS[name]
    store = TierStore(Tier(MemoryBlobs()), "function", None, None)
    for key_of in (comparable, lambda argument: store._name(comparable(argument))):
        keys = [key_of(wrap(make())) for make in PARTS]
        again = [key_of(wrap(make())) for make in PARTS]
        assert keys == again
        for (i, left), (j, right) in itertools.combinations(enumerate(keys), 2):
            assert left != right, (wrap(PARTS[i]()), wrap(PARTS[j]()))


def test_results_of_other_containers_are_not_returned() -> None:
    @memoize
    def kind(options: dict[str, Any]) -> str:
        return type(options["filters"]).__name__

    different: list[Any] = [[], {}, set(), frozenset(), {1, 2}, frozenset({1, 2})]
    for filters in different:
        assert kind({"filters": filters}) == type(filters).__name__


EQUAL: list[tuple[Any, Any]] = [
    ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
    ({"x": [{"a": 1, "b": {3, 4}}]}, {"x": [{"b": {4, 3}, "a": 1}]}),
    ([{8, 16, 0}], [{16, 0, 8}]),
    ({(1, "a"), (2, "b"), None}, {None, (2, "b"), (1, "a")}),
    ({1: "a", "1": "b", None: "c"}, {None: "c", "1": "b", 1: "a"}),
    ([np.arange(3)], [np.arange(6)[:3]]),
    ([torch.arange(3)], [torch.arange(6)[::2] // 2]),
    (Point([1], {2}), Point([1], {2})),
    (memoryview(b"ab"), memoryview(bytearray(b"ab"))),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_arguments_are_one_call_at_any_depth(left: Any, right: Any) -> None:
    for wrap in WRAPPINGS.values():
        assert comparable(wrap(left)) == comparable(wrap(right))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
)
nests = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2) | st.integers(-1, 1), inner, max_size=3)
        | st.sets(scalars, max_size=3)
        | st.frozensets(scalars, max_size=3)
    ),
    max_leaves=8,
)


def spelled(value: Any) -> str:
    """A text that two nests share exactly where they are the same in type and content."""
    name = type(value).__name__
    if isinstance(value, dict):
        return f"dict({sorted((spelled(key), spelled(item)) for key, item in value.items())})"
    if isinstance(value, set | frozenset):
        return f"{name}({sorted(map(spelled, value))})"
    if isinstance(value, list | tuple):
        return f"{name}({list(map(spelled, value))})"
    return f"{name}({value.hex() if isinstance(value, float) else repr(value)})"


@given(nests, nests)
def test_keys_are_equal_exactly_where_arguments_are(left: Any, right: Any) -> None:
    assert (comparable([left]) == comparable([right])) == (spelled(left) == spelled(right))
    assert comparable([left]) == comparable([pickle.loads(pickle.dumps(left))])


def test_a_tensor_that_changes_is_another_argument_wherever_it_lies() -> None:
    for make in (lambda tensor: Point(tensor, 1), lambda tensor: (tensor,), lambda tensor: [{"a": tensor}]):
        tensor = torch.ones(3)
        argument = make(tensor)
        before = comparable(argument)
        assert before == comparable(make(torch.ones(3)))
        tensor[0] = 5
        assert comparable(argument) != before


def test_a_tensor_of_a_class_of_ones_own_that_changes_is_another_argument() -> None:
    tensor = torch.ones(3).as_subclass(Weights)
    before = comparable(tensor)
    tensor[0] = 5
    assert comparable(tensor) != before


def test_bytes_that_can_be_written_to_are_compared_by_what_they_hold() -> None:
    content = bytearray(b"ab")
    view = memoryview(content)
    before = comparable(view)
    content[0] = 0
    assert comparable(view) != before


def test_no_argument_given_is_the_default() -> None:
    def only_named(*, c: int = 3) -> None: ...
    def only_by_place(a: int = 1, /) -> None: ...

    named, by_place = CallKeys(only_named), CallKeys(only_by_place)
    assert named.of((), {}) == named.of((), {"c": 3}) != named.of((), {"c": 4})
    assert by_place.of((), {}) == by_place.of((1,), {}) != by_place.of((2,), {})


@dataclass
class Scale:
    factor: int

    def multiplied(self, value: int) -> int:
        return self.factor * value


def test_closures_and_methods_share_a_tier_without_sharing_results() -> None:
    tier = Tier(MemoryBlobs())

    def times(factor: int) -> Callable[[int], int]:
        @memoize(tier=tier)
        def multiplied(value: int) -> int:
            return factor * value

        return multiplied

    assert [times(2)(5), times(3)(5), times(2)(5)] == [10, 15, 10]
    assert [memoize(tier=tier)(Scale(factor).multiplied)(5) for factor in (2, 3, 2)] == [10, 15, 10]
    assert len(tier) == 4


def test_a_captured_function_is_known_by_its_code_and_one_may_call_itself() -> None:
    tier = Tier(MemoryBlobs())
    computed = Counter[str]()

    def through(inner: Callable[[int], int]) -> Callable[[int], int]:
        def outer(value: int) -> int:
            computed["outer"] += 1
            return inner(value)

        return memoize(tier=tier, key=lambda value: value)(outer)

    assert [through(lambda value: value + 1)(1), through(lambda value: value + 2)(1)] == [2, 3]

    @memoize(tier=tier)
    def factorial(value: int) -> int:
        return value * factorial(value - 1) if value else 1

    assert factorial(10) == 3_628_800


def test_what_contains_itself_or_nests_too_deeply_is_refused() -> None:
    circle: list[Any] = [set()]
    circle.append(circle)
    deep: Any = [set()]
    for _ in range(1_000):
        deep = [deep]
    for argument in (circle, deep):
        with pytest.raises(InvalidType, match="key="):
            comparable(argument)


def test_keys_are_the_same_in_the_next_process() -> None:
    script = (
        "from memories.tiers.memo_keys import content_digest as digest\n"
        "print(digest([{'a', 'b', 'c', None}, {'x': frozenset({'y', 'z', 1.5}), 2: {('p', 1), 'q'}}]))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
