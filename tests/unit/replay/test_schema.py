"""Schemas from every source, nested observations, and what may be stored in which column."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from memories.errors import InvalidType, InvalidValue
from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Schema
from memories.replay.schema import nest

NESTED = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
        "inner": spaces.Dict({"bits": spaces.MultiBinary(4), "kind": spaces.Discrete(3)}),
        "pair": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.MultiDiscrete([2, 5]))),
    }
)


def test_from_spaces_stores_what_the_spaces_sample() -> None:
    schema = Schema.from_spaces(NESTED, spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (3,)))))
    assert schema["obs/image"].shape == (8, 8, 3)
    assert schema["obs/inner/kind"].dtype == np.int64
    assert schema["next_obs/pair/1"].shape == (2,)
    assert schema["action/0"].shape == ()
    buffer = ReplayBuffer(schema, 10, seed=0)
    NESTED.seed(0)
    observations = [NESTED.sample() for _ in range(6)]
    for before, after in pairwise(observations):
        buffer.add(
            obs=before,
            action=(1, np.zeros(3, np.float32)),
            reward=1.0,
            next_obs=after,
            terminated=False,
            truncated=False,
        )
    batch, _ = buffer.read(buffer.handles())
    for name in ("image", "inner", "pair"):
        for i, observation in enumerate(observations[:-1]):
            _assert_same(observation[name], _row(batch["obs"][name], i))
    action = batch["action"]
    assert isinstance(action, tuple)
    assert action[1].shape == (5, 3)


def _row(value: Any, i: int) -> Any:
    if isinstance(value, dict):
        return {name: _row(inner, i) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_row(inner, i) for inner in value)
    return value[i]


def _assert_same(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        for name in left:
            _assert_same(left[name], right[name])
    elif isinstance(left, tuple):
        for a, b in zip(left, right, strict=True):
            _assert_same(a, b)
    else:
        assert np.asarray(left).dtype == np.asarray(right).dtype
        assert np.array_equal(left, right)


def test_from_env_single_and_vector() -> None:
    single = gymnasium.make("CartPole-v1")
    vector = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    try:
        assert Schema.from_env(single) == Schema.from_env(vector)
        assert Schema.from_env(single)["obs"].shape == (4,)
        extra = Schema.from_env(single, extra={"env": "i4"}, reward_dtype=np.float64)
        assert extra["env"].dtype == np.int32
        assert extra["reward"].dtype == np.float64
    finally:
        single.close()
        vector.close()
    with pytest.raises(InvalidType, match="no observation_space"):
        Schema.from_env(object())
    with pytest.raises(InvalidType, match="Text has no fixed size"):
        Schema.from_spaces(spaces.Text(5), spaces.Discrete(2))


def test_from_example_and_from_batch() -> None:
    row = {"obs": {"a": np.zeros((2, 3), np.float32), "b": (1, 2)}, "reward": 0.5, "done": True}
    schema = Schema.from_example(row)
    assert schema.names == ("obs/a", "obs/b", "reward", "done")
    assert (schema["reward"].dtype, schema["done"].dtype) == (np.float64, np.bool_)
    assert Schema.from_batch({"x": np.zeros((5, 2), np.int16)})["x"].shape == (2,)
    with pytest.raises(InvalidValue, match="first axis"):
        Schema.from_batch({"x": 3})
    with pytest.raises(InvalidType, match="numbers only"):
        Schema.from_example({"x": "text"})


def test_nested_names_survive_the_round_trip() -> None:
    flat = {"obs/a/0": 1, "obs/a/1": 2, "obs/b": 3, "r": 4}
    assert nest(flat) == {"obs": {"a": (1, 2), "b": 3}, "r": 4}
    schema = Schema({"obs": {"a": ((2,), "f4"), "b": "i8"}, "r": "?"})
    assert Schema.from_dict(schema.to_dict()) == schema
    assert hash(Schema.from_dict(schema.to_dict())) == hash(schema)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({}, "at least one column"),
        ({"priority": "f4"}, "argument of add"),
        ({"a": "f4", "a/b": "f4"}, "both a column and the parent"),
        ({"a//b": "f4"}, "empty part"),
        ({"a": ((2,), "O")}, "fixed-size"),
        ({"a": ((2,), "U5")}, "fixed-size"),
        ({"a": np.zeros(3)}, "from_example"),
        ({"a": ((-1,), "f4")}, "negative dimension"),
    ],
)
def test_impossible_schemas(columns: dict[str, Any], why: str) -> None:
    with pytest.raises((InvalidValue, InvalidType), match=why):
        Schema(columns)


GOOD: dict[str, Any] = {"f": np.ones(2, np.float32), "i": 5, "u": 200, "b": True}
SCHEMA = Schema({"f": ((2,), "f4"), "i": "i4", "u": "u1", "b": "?"})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"f": np.ones(3, np.float32)}, r"takes .* of shape .*, got .*3,?\)"),
        ({"f": 1.0}, "takes .* of shape"),
        ({"f": [[1.0, 2.0]]}, r"got .*1, 2\)"),
        ({"f": [1.0, [2.0]]}, "cannot be made an array"),
        ({"f": ["a", "b"]}, "numbers only"),
        ({"f": None}, "numbers only"),
        ({"i": 2.5}, "behind the point"),
        ({"i": 2**31}, "do not fit"),
        ({"i": 10**30}, "numbers only"),
        ({"u": -1}, "do not fit"),
        ({"u": 256}, "do not fit"),
        ({"b": 2}, "other than 0 and 1"),
        ({"b": 0.5}, "other than 0 and 1"),
        ({"g": 1}, "unknown"),
    ],
)
@pytest.mark.parametrize("how", ["add", "add_batch"])
def test_bad_rows_are_refused_and_nothing_changes(change: dict[str, Any], why: str, how: str) -> None:
    buffer = ReplayBuffer(SCHEMA, 3, seed=0)
    for _ in range(4):  # full: a partial write would be seen in an old row
        buffer.add(**GOOD)
    before = buffer.export_state()
    row = GOOD | change
    twice = {name: [value, value] for name, value in row.items()}
    insert = (lambda: buffer.add(**row)) if how == "add" else (lambda: buffer.add_batch(twice))
    with pytest.raises((InvalidValue, InvalidType), match=why):
        insert()
    after = buffer.export_state()
    assert after.values == before.values
    assert all(np.array_equal(after.arrays[name], before.arrays[name]) for name in before.arrays)
    assert buffer.sample(5)["u"].tolist() == [200] * 5


def test_values_that_fit_are_taken() -> None:
    buffer = ReplayBuffer(SCHEMA, 3, seed=0)
    buffer.add(f=[1, 2], i=np.int64(7), u=np.uint8(3), b=1.0)
    buffer.add(f=np.array([1.5, 2.5]), i=np.uint8(8), u=np.int64(255), b=np.bool_(False))
    batch, _ = buffer.read(buffer.handles())
    assert batch["f"].tolist() == [[1.0, 2.0], [1.5, 2.5]]
    assert batch["i"].tolist() == [7, 8]
    assert batch["u"].tolist() == [3, 255]
    assert batch["b"].tolist() == [True, False]


def test_a_row_is_copied_when_it_is_added() -> None:
    buffer = ReplayBuffer(capacity=3, seed=0)
    obs = np.zeros(4, np.float32)
    buffer.add(obs=obs)
    obs[:] = 9  # environments reuse their arrays
    batch = buffer.sample(1)
    assert batch["obs"].tolist() == [[0, 0, 0, 0]]
    batch["obs"][:] = 7
    assert buffer.sample(1)["obs"].tolist() == [[0, 0, 0, 0]]


def test_capacity_in_bytes() -> None:
    schema = Schema({"image": ((100, 100), "u1"), "n": "i8"})
    buffer = ReplayBuffer(schema, capacity_bytes=1_000_000)
    assert buffer.capacity == 1_000_000 // (100 * 100 + 8 + 8)
    assert ReplayBuffer(schema, 10, capacity_bytes=1_000_000).capacity == 10
    with pytest.raises(InvalidValue, match="one row takes"):
        ReplayBuffer(schema, capacity_bytes=9_000)
    with pytest.raises(InvalidValue, match="capacity"):
        ReplayBuffer(schema)
    for bad in (0, -1, 2.5):
        with pytest.raises(InvalidValue, match="positive integer"):
            ReplayBuffer(schema, bad)  # type: ignore[arg-type]


def test_empty_and_odd_columns() -> None:
    schema = Schema({"nothing": ((0,), "f4"), "c": "c16", "half": ((3,), "f2"), "d": "f8", "byte": "i1"})
    buffer = ReplayBuffer(schema, 4, seed=0)
    buffer.add(nothing=[], c=1 + 2j, half=[1, 2, 3], d=0.1, byte=-3)
    row = next(iter(buffer.sample(1)))
    assert (row.c, row.d, row.byte) == (1 + 2j, 0.1, -3)
    assert row.nothing.shape == (0,)
    assert row.half.dtype == np.float16
    nothing = {spec.name: np.zeros((0, *spec.shape)) for spec in schema}
    assert buffer.add_batch(nothing).size == 0


def test_a_bad_first_batch_does_not_fix_the_schema() -> None:
    buffer = PrioritizedReplayBuffer(capacity=5, seed=0)
    for bad in (
        lambda: buffer.add_batch({"a": [1, 2], "b": [1, 2, 3]}),
        lambda: buffer.add_batch({"a": [1, 2]}, [1.0, np.nan]),
        lambda: buffer.add_batch({"a": ["x"]}),
        lambda: buffer.add(-1.0, a=3),
    ):
        with pytest.raises((InvalidValue, InvalidType)):
            bad()
        assert buffer.schema is None
    buffer.add(c=1.0)
    assert buffer.schema == Schema({"c": "f8"})


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", ">f8", "complex64"])
def test_columns_have_numpys_own_dtype_also_after_travelling(dtype: str) -> None:
    """Checking a batch compares dtypes by identity; a copy would send every batch through conversion."""
    schema = Schema({"x": dtype})
    own = np.dtype(dtype).newbyteorder("=").type
    assert schema["x"].dtype is np.dtype(own)
    assert pickle.loads(pickle.dumps(schema))["x"].dtype is np.dtype(own)
