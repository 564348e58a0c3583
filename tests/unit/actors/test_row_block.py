"""The rows of one call: copied in, views out, memory used again."""

from __future__ import annotations

import numpy as np
import pytest

from memories.actors.replay.row_block import RowBlock
from memories.errors import InvalidType, InvalidValue
from memories.replay import PrioritizedReplayBuffer, Schema

SCHEMA = Schema({"obs": ((3,), "float32"), "row": "int64"})


def columns(start: int, count: int) -> list[np.ndarray]:
    row = np.arange(start, start + count)
    return [np.repeat(row[:, None], 3, 1).astype("f4"), row]


def test_rows_and_batches_arrive_in_the_order_in_which_they_came() -> None:
    block = RowBlock(SCHEMA, 10)
    given = columns(0, 4)
    block.write(given, None, 1, 4)
    given[1][:] = -1  # the block has a copy
    block.add({"obs": np.full(3, 9, "f4"), "row": 9})
    assert (block.used, block.room, block.priorities()) == (4, 6, None)
    buffer = PrioritizedReplayBuffer(SCHEMA, 10)
    buffer.add_batch(block.columns(), block.priorities())
    assert buffer.read(buffer.handles())[0]["row"].tolist() == [1, 2, 3, 9]


def test_a_row_that_is_refused_was_not_taken() -> None:
    block = RowBlock(SCHEMA, 2)
    for bad in ({"obs": np.zeros(4, "f4"), "row": 1}, {"obs": np.zeros(3, "f4"), "row": 0.5}):
        with pytest.raises((InvalidValue, InvalidType)):
            block.add(bad)
    assert block.used == 0
    with pytest.raises(InvalidValue, match="1 row at least"):
        RowBlock(SCHEMA, 0)


def test_priorities_stay_with_their_rows_and_a_cleared_block_has_none() -> None:
    block = RowBlock(SCHEMA, 4)
    block.write(columns(0, 6), np.arange(6.0), 2, 5)
    priorities = block.priorities()
    assert priorities is not None
    assert priorities.tolist() == [2.0, 3.0, 4.0]
    block.clear()
    block.write(columns(7, 1), None, 0, 1)
    assert (block.used, block.prioritized, block.priorities()) == (1, False, None)
