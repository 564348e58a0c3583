"""A batch writer takes the columns that it began with, whether these came as rows or as batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memories.errors import InvalidValue
from memories.replay.writers import BatchWriter

from .sinks import ListSink

FIRST = {"x": np.arange(2), "y": np.ones(2)}


@pytest.mark.parametrize(
    "columns",
    [
        {"x": np.arange(2)},
        {**FIRST, "z": np.ones(2)},
        {"x": np.arange(2), "z": np.ones(2)},
        {"x": np.arange(2), "y": np.ones((2, 3))},
    ],
)
@pytest.mark.parametrize("batch_size", [2, 100])
def test_a_batch_of_other_columns_is_refused_and_changes_nothing(
    columns: dict[str, Any], batch_size: int
) -> None:
    sink = ListSink()
    writer = BatchWriter(sink, batch_size)
    writer.add_batch(FIRST)
    waiting = len(writer)
    with pytest.raises(InvalidValue, match="changed"):
        writer.add_batch(columns)
    with pytest.raises(InvalidValue):
        writer.add(**{name: array[0] for name, array in columns.items()})
    assert len(writer) == waiting
    writer.add_batch(FIRST)
    writer.add(x=7, y=0.0)
    writer.flush()
    assert sink.columns["x"].tolist() == [0, 1, 0, 1, 7]
    assert sorted(sink.columns) == ["x", "y"]
    assert len(writer) == 0


def test_an_empty_or_a_refused_batch_says_nothing_about_columns() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, 10)
    writer.add_batch({"z": np.empty(0)})
    with pytest.raises(InvalidValue):
        writer.add_batch({"x": np.arange(2), "y": np.ones(3)})
    writer.add_batch(FIRST)
    writer.flush()
    assert sorted(sink.columns) == ["x", "y"]


def test_batches_may_change_their_dtype_until_a_single_row_comes() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, 10)
    writer.add_batch({"x": np.arange(2)})
    writer.add_batch({"x": np.asarray([2.5])})
    writer.add(x=3.5)
    writer.flush()
    assert sink.columns["x"].tolist() == [0, 1, 2.5, 3.5]
