"""The selected bytes, decoded with the header of the part, are the rows of the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memories.errors import CorruptData, InvalidType, InvalidValue
from memories.tiers.codec import decode, encode, select_indices, select_rows
from memories.tiers.encoded import Encoded, Selection
from tests.support.same import same


def part(encoded: Encoded, selection: Selection) -> Any:
    buffers = []
    for source, ranges in zip(selection.sources, selection.ranges, strict=True):
        whole = encoded.buffers[source]
        buffers.append(memoryview(b"".join(whole[begin:end] for begin, end in ranges.tolist())))
    assert [b.nbytes for b in buffers] == selection.lengths()
    return decode(selection.header, buffers)


def rows_of(value: Any, start: int | None, stop: int | None) -> Any:
    encoded = encode(value)
    return part(encoded, select_rows(encoded.header, start, stop))


def picked(value: Any, indices: Any) -> Any:
    encoded = encode(value)
    return part(encoded, select_indices(encoded.header, indices))


ARRAY = np.arange(5 * 6 * 7, dtype="f4").reshape(5, 6, 7)


@given(
    order=st.permutations(range(3)),
    start=st.none() | st.integers(-9, 9),
    stop=st.none() | st.integers(-9, 9),
    indices=st.lists(st.integers(-5, 4)),
)
def test_rows_of_arrays_and_tensors_in_any_order_of_axes(
    order: list[int], start: int | None, stop: int | None, indices: list[int]
) -> None:
    inverse = np.argsort(order)
    array = np.ascontiguousarray(ARRAY.transpose(order)).transpose(inverse)
    assert same(rows_of(array, start, stop), ARRAY[start:stop])
    assert same(picked(array, indices), ARRAY[np.array(indices, dtype=int)])
    tensor = torch.from_numpy(array)
    assert same(rows_of(tensor, start, stop), torch.from_numpy(ARRAY)[start:stop])


def test_rows_of_sequences() -> None:
    assert rows_of(b"abcdef", 1, 3) == b"bc"
    assert rows_of(b"abcdef" * 1000, -3, None) == b"def"
    assert rows_of("text" * 5000, 4, 7) == "tex"
    assert picked("text" * 5000, [3, 0, 2]) == "ttx"
    assert rows_of(bytearray(b"abc"), 1, 3) == bytearray(b"bc")
    assert rows_of([float(i) for i in range(100)], 98, 1000) == [98.0, 99.0]
    assert picked(tuple(range(100)), [5, -1, 5]) == (5, 99, 5)
    assert rows_of(memoryview(np.arange(6.0).reshape(3, 2)), 1, 2).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("text", ["", "a", "str", "text", "hello", "array", "x" * 256, "x" * 257])
def test_rows_of_texts_of_any_length(text: str) -> None:
    assert rows_of(text, 1, 3) == text[1:3]
    assert rows_of(text, -2, None) == text[-2:]
    if text:
        assert picked(text, [-1, 0]) == text[-1] + text[0]


def test_rows_of_structured_and_empty_arrays() -> None:
    records = np.array([(1, "a"), (2, "b")], dtype=[("x", "i4"), ("y", "U3")])
    assert same(rows_of(records, 1, 2), records[1:])
    assert same(picked(records, np.array([1, 0])), records[[1, 0]])
    assert rows_of(np.empty((4, 0)), 1, 3).shape == (2, 0)
    assert picked(np.empty((0, 3)), []).shape == (0, 3)
    assert rows_of(np.arange(10), 7, 3).shape == (0,)


def test_rows_of_tables_of_numbers() -> None:
    table = pa.table({"a": np.arange(100), "b": np.arange(100.0)})
    assert rows_of(table, 10, 20).equals(table.slice(10, 10))
    assert picked(table, [3, 1]).equals(table.take([3, 1]))
    assert picked(table["a"].chunk(0), [3, 1]).equals(pa.array([3, 1]))


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        5,
        None,
        np.float64(2),
        np.array(3),
        "ü" * 5000,
        "ü",
        pa.table({"t": ["text"]}),
        pa.table({"n": [1, None]}),
        pd.DataFrame({"a": [1]}),
        {f"key {i}": i for i in range(10_000)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_selectable_rows_is_named(value: Any) -> None:
    with pytest.raises(InvalidType, match="whole"):
        select_rows(encode(value).header, 0, 1)


def test_rows_that_do_not_exist() -> None:
    header = encode(np.zeros((4, 2))).header
    for absent in ([4], [0, -5]):
        with pytest.raises(InvalidValue, match="value of 4 rows"):
            select_indices(header, absent)
    beyond: list[Any] = [[2**63], [1, 2**64 - 1], np.array([2**64 - 1], np.uint64)]
    for indices in beyond:
        with pytest.raises((InvalidValue, InvalidType)):
            select_indices(header, indices)
    wrong: list[Any] = [[1.5], [[1]], "ab", [[1], [2, 3]], 5, {1, 2}, [True], [None], [2**70]]
    for indices in wrong:
        with pytest.raises(InvalidType, match="sequence of integers"):
            select_indices(header, indices)


@pytest.mark.parametrize("bound", ["1", 1.5, [1], np.float32(1), b"1"])
def test_a_start_or_an_end_that_is_no_whole_number(bound: Any) -> None:
    header = encode(np.zeros((4, 2))).header
    with pytest.raises(InvalidType, match="start must be a whole number or None, not"):
        select_rows(header, bound, None)
    with pytest.raises(InvalidType, match="end must be a whole number or None, not"):
        select_rows(header, None, bound)


def test_a_start_and_an_end_far_beyond_the_value() -> None:
    one: Any = np.int8(1)
    assert rows_of(np.arange(4), one, 2**70).tolist() == [1, 2, 3]
    assert rows_of(np.arange(4), -(2**70), 2).tolist() == [0, 1]


def test_a_damaged_header_is_corrupt() -> None:
    header = encode(np.zeros((4, 2))).header
    for at in range(len(header)):
        damaged = header[:at] + bytes([header[at] ^ 0x41]) + header[at + 1 :]
        try:
            select_rows(damaged, 0, 2)
        except (CorruptData, InvalidType):
            continue
