"""Blobs in memory, and the gathering of byte ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.errors import KeyNotFound
from memories.tiers.blobs import Blob
from memories.tiers.memory_blobs import MemoryBlobs, gather, owned
from memories.tiers.record import Record

WHOLE = memoryview(bytes(range(256))).toreadonly()


@given(st.lists(st.tuples(st.integers(0, 256), st.integers(0, 256)).map(sorted), max_size=12))
def test_any_ranges_are_joined_in_order(ranges: list[list[int]]) -> None:
    expected = b"".join(WHOLE[start:stop] for start, stop in ranges)
    assert bytes(gather(WHOLE, np.array(ranges, np.int64).reshape(-1, 2))) == expected


@given(st.lists(st.integers(0, 31), min_size=1, max_size=50))
def test_rows_of_one_width_are_taken_at_once(rows: list[int]) -> None:
    ranges = np.array([(8 * row, 8 * row + 8) for row in rows], np.int64)
    assert bytes(gather(WHOLE, ranges)) == b"".join(WHOLE[8 * row : 8 * row + 8] for row in rows)


def test_one_run_is_a_view() -> None:
    array = np.arange(100, dtype=np.uint8)
    part = np.frombuffer(gather(array.data, np.array([(10, 20), (20, 35)])), np.uint8)
    assert np.shares_memory(part, array)
    assert part.tolist() == list(range(10, 35))


def test_an_owned_buffer_is_private_and_read_only() -> None:
    array = np.arange(10, dtype=np.uint8)
    copy = owned(array.data)
    array[:] = 0
    assert copy.readonly
    assert bytes(copy) == bytes(range(10))
    assert owned(memoryview(b"")).nbytes == 0


def test_the_books_follow_every_change() -> None:
    blobs = MemoryBlobs()
    blobs.put(Blob(Record(key="a", header=b"123", lengths=(5,)), (memoryview(b"12345"),)))
    blobs.put(Blob(Record(key="b", header=b"1"), ()))
    assert (blobs.used_bytes, len(blobs)) == (9, 2)
    assert blobs.stored_bytes("a") == 8
    blobs.update(Record(key="a", header=b"", lengths=(5,)))
    assert blobs.used_bytes == 6
    assert bytes(blobs.get("a").buffers[0]) == b"12345"
    with pytest.raises(KeyNotFound):
        blobs.update(Record(key="c"))
    assert blobs.remove("a")
    assert not blobs.remove("a")
    assert blobs.used_bytes == 1
    blobs.clear()
    assert (blobs.used_bytes, len(blobs)) == (0, 0)
