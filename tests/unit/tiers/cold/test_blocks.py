"""Parts of a buffer by ranges, mapped and not, beside plain slicing; and damage in and out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.errors import CorruptData
from memories.tiers.checksum import BLOCK_BYTES
from memories.tiers.cold.blocks import plain_part, plain_table, runs_part, touched_blocks

NBYTES = 5 * BLOCK_BYTES + 100
CONTENT = np.random.default_rng(0).bytes(NBYTES)
TABLE = plain_table(memoryview(CONTENT))

ends = st.integers(0, NBYTES)
mixed = st.lists(st.tuples(ends, ends).map(sorted), max_size=12)
rows_of_one_width = st.integers(1, NBYTES // 4).flatmap(
    lambda width: st.lists(st.integers(0, NBYTES // width - 1), max_size=40).map(
        lambda rows: [[row * width, (row + 1) * width] for row in rows]
    )
)


def as_ranges(pairs: list[list[int]]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


@given(mixed | rows_of_one_width)
def test_a_part_is_what_slicing_gives(pairs: list[list[int]]) -> None:
    whole = memoryview(CONTENT)
    wanted = b"".join(CONTENT[begin:end] for begin, end in pairs)
    ranges = as_ranges(pairs)
    assert bytes(plain_part(whole, TABLE, ranges)) == wanted
    assert bytes(runs_part(lambda begin, end: whole[begin:end], TABLE, NBYTES, ranges)) == wanted


@given(mixed | rows_of_one_width)
def test_each_block_that_holds_a_byte_is_touched_once_and_hardly_another(pairs: list[list[int]]) -> None:
    blocks = range(len(TABLE))
    needed = {
        n
        for begin, end in pairs
        for n in blocks
        if max(begin, n * BLOCK_BYTES) < min(end, n * BLOCK_BYTES + BLOCK_BYTES)
    }
    inside = {begin // BLOCK_BYTES for begin, end in pairs if begin == end}
    touched = touched_blocks(as_ranges(pairs)).tolist()
    assert touched == sorted(set(touched))
    assert needed <= set(touched) <= needed | inside


@given(st.integers(0, NBYTES - 1), mixed | rows_of_one_width)
def test_damage_is_found_where_it_is_touched_and_only_there(at: int, pairs: list[list[int]]) -> None:
    damaged = bytearray(CONTENT)
    damaged[at] ^= 1
    ranges = as_ranges(pairs)
    whole = memoryview(damaged)
    if at // BLOCK_BYTES in touched_blocks(ranges):
        with pytest.raises(
            CorruptData, match=f"1 of .* the first at byte {at // BLOCK_BYTES * BLOCK_BYTES}$"
        ):
            plain_part(whole, TABLE, ranges)
    else:
        assert bytes(plain_part(whole, TABLE, ranges)) == b"".join(CONTENT[begin:end] for begin, end in pairs)
