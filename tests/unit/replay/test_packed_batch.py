"""Rows that go from one store to another as they lie: equal to rows that go as columns, and checked."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from memories.errors import InvalidValue
from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Schema
from memories.replay.columns import ColumnStore
from memories.replay.frames import ImageStorage
from memories.replay.packed_batch import PackedBatch

NARROW = Schema({"obs": ((3,), "float32"), "done": "bool", "row": "int64"})
MIXED = Schema({"image": ((40, 40), "uint8"), "row": "int64", "wide": ((400,), "float64")})
WIDE = Schema({"image": ((40, 40), "uint8")})


def columns_of(schema: Schema, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        spec.name: rng.integers(0, 2, (rows, *spec.shape)).astype(spec.dtype) + spec.dtype.type(0)
        for spec in schema
    }


def packed(schema: Schema, columns: dict[str, np.ndarray]) -> PackedBatch:
    rows = len(next(iter(columns.values())))
    store = ColumnStore(schema, rows + 5)
    store.write(slice(0, rows), store.check_batch(columns)[0])
    return pickle.loads(pickle.dumps(store.pack(0, rows)))


@pytest.mark.parametrize("schema", [NARROW, MIXED, WIDE], ids=["narrow", "mixed", "wide"])
@pytest.mark.parametrize("rows", [1, 7, 25])  # the last are more than there is room for
def test_a_packed_batch_is_the_same_as_its_columns(schema: Schema, rows: int) -> None:
    plain, other = ReplayBuffer(schema, 10, seed=0), ReplayBuffer(schema, 10, seed=0)
    for turn in range(4):
        columns = columns_of(schema, rows, turn)
        handles = plain.add_batch(columns)
        assert np.array_equal(other.add_batch(packed(schema, columns)), handles)
    for name, column in plain.read(plain.handles())[0].columns.items():
        assert np.array_equal(column, other.read(other.handles())[0].columns[name])
    assert plain.inserted == other.inserted


def test_priorities_come_with_a_packed_batch() -> None:
    buffer = PrioritizedReplayBuffer(NARROW, 8, seed=0)
    handles = buffer.add_batch(packed(NARROW, columns_of(NARROW, 20)), np.arange(20) + 1.0)
    assert np.allclose(buffer.priorities_of(handles[-8:]), np.arange(12, 20) + 1.0)


@pytest.mark.parametrize("other", [MIXED, WIDE, Schema({"row": "int64"}), Schema({"obs": ((9,), "float32")})])
def test_rows_of_another_schema_are_refused_and_change_nothing(other: Schema) -> None:
    buffer = ReplayBuffer(NARROW, 8)
    with pytest.raises(InvalidValue, match="another schema"):
        buffer.add_batch(packed(other, columns_of(other, 3)))
    assert len(buffer) == 0


def test_a_batch_that_says_another_number_of_rows_is_refused() -> None:
    batch = packed(MIXED, columns_of(MIXED, 3))
    buffer = ReplayBuffer(MIXED, 8)
    with pytest.raises(InvalidValue, match="another schema"):
        buffer.add_batch(PackedBatch(4, batch.packed, batch.wide))
    assert len(buffer) == 0


def test_a_buffer_without_a_schema_says_what_is_missing() -> None:
    with pytest.raises(InvalidValue, match="schema first"):
        ReplayBuffer(capacity=8).add_batch(packed(NARROW, columns_of(NARROW, 3)))


def test_frames_that_are_kept_once_are_not_handed_on() -> None:
    store = ColumnStore(WIDE, 4, images=ImageStorage(("image",), stack_axis=None))
    with pytest.raises(InvalidValue, match="Frames"):
        store.pack(0, 1)
