"""Every value comes back with the same type, dtype, shape and bytes, without pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from memories.errors import CorruptData, InvalidType, InvalidValue, PickleRefused
from memories.tiers.codec import decode, encode
from tests.support.same import same
from tests.support.values import all_values, numpy_values

VALUES = all_values()


def stored(value: Any, **options: Any) -> Any:
    encoded = encode(value)
    copies = [memoryview(bytes(buffer)) for buffer in encoded.buffers]
    return decode(encoded.header, copies, **options)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("writable", [False, True])
def test_comes_back_as_it_was_without_pickle(name: str, writable: bool) -> None:
    encoded = encode(VALUES[name], allow_pickle=False)
    assert not encoded.has_pickle
    assert same(stored(VALUES[name], writable=writable), VALUES[name])


@pytest.mark.parametrize("name", VALUES)
def test_comes_back_as_a_part_of_a_container(name: str) -> None:
    value = {"x": [VALUES[name]]}
    assert same(stored(value), value)


@pytest.mark.parametrize("name", [n for n, v in numpy_values().items() if isinstance(v, np.ndarray)])
def test_arrays_keep_their_layout_and_are_read_only_unless_asked(name: str) -> None:
    array = VALUES[name]
    back, writable = stored(array), stored(array, writable=True)
    assert not back.flags.writeable
    assert writable.flags.writeable
    if array.flags.c_contiguous or array.flags.f_contiguous or name == "transposed":
        assert back.strides == array.strides


def test_dense_tensors_keep_their_strides() -> None:
    for name in ("channels last", "permuted"):
        assert stored(VALUES[name]).stride() == VALUES[name].stride()


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_buffers_are_not_copied(order: Any) -> None:
    array = np.ones((1000, 500), order=order)
    for value in (array, {"nested": [array]}, torch.from_numpy(array), pa.table({"a": array.ravel(order)})):
        (buffer,) = encode(value).buffers
        assert np.shares_memory(np.frombuffer(buffer, "u1"), array)


def test_decode_gives_views() -> None:
    memory = bytearray(8000)
    header = encode(np.zeros(1000)).header
    assert np.shares_memory(decode(header, [memoryview(memory)]), np.frombuffer(memory, "u1"))
    header = encode(torch.zeros(1000, dtype=torch.float64)).header
    tensor = decode(header, [memoryview(memory)])
    tensor[0] = 1.0
    assert memory[7] == 0x3F


def test_a_tensor_never_writes_to_read_only_memory() -> None:
    memory = bytes(8000)
    tensor = decode(encode(torch.zeros(1000, dtype=torch.float64)).header, [memoryview(memory)])
    tensor[:] = 1.0
    assert memory == bytes(8000)


def test_many_small_parts_are_not_a_buffer_each() -> None:
    for name in ("many scalars", "many arrays"):
        encoded = encode(VALUES[name])
        assert len(encoded.buffers) == 1
        assert len(encoded.header) < 100


def test_the_device_is_recorded_and_a_missing_one_is_not_needed() -> None:
    encoded = encode(torch.ones(3))
    assert b"cpu" in encoded.header
    elsewhere = encoded.header.replace(b"\xa3cpu", b"\xa6cuda:7")
    assert decode(elsewhere, encoded.buffers, device="stored").device.type == "cpu"
    assert decode(elsewhere, encoded.buffers).device.type == "cpu"


class Point:
    def __init__(self, content: Any) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and np.array_equal(self.content, other.content)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        Point(np.arange(5000)),
        np.array([1, "a", None], dtype=object),
        np.ma.array([1, 2], mask=[True, False]),
        pa.array([1, 1, 2]).dictionary_encode().type,
        ...,
        {"deep": [Point(1)]},
        torch.eye(3).to_sparse(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_pickled_and_marked_so(value: Any) -> None:
    encoded = encode(value)
    assert encoded.has_pickle
    with pytest.raises(PickleRefused, match="allow_pickle=True"):
        encode(value, allow_pickle=False)
    with pytest.raises(PickleRefused, match="allow_pickle=True"):
        decode(encoded.header, encoded.buffers)
    back = decode(encoded.header, encoded.buffers, allow_pickle=True)
    assert same(back, value)


def test_large_arrays_in_pickled_objects_are_not_copied() -> None:
    array = np.ones(100_000)
    encoded = encode(Point(array))
    assert any(np.shares_memory(np.frombuffer(b, "u1"), array) for b in encoded.buffers if b.nbytes > 1000)
    assert decode(encoded.header, encoded.buffers, allow_pickle=True).content.flags.writeable


def test_what_cannot_be_pickled_is_refused_by_name() -> None:
    with pytest.raises(InvalidType, match="generator"):
        encode(i for i in range(3))


def test_cycles_and_deep_nests_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    with pytest.raises(InvalidValue, match="contains itself"):
        encode(cycle)
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    with pytest.raises(InvalidValue, match="levels deep"):
        encode(deep)
    deep = 1
    for _ in range(199):
        deep = (deep,)
    assert stored(deep) == deep
    shared = [1]
    assert stored([shared, shared]) == [[1], [1]]


def test_a_newer_format_and_an_unknown_tag_are_named() -> None:
    with pytest.raises(CorruptData, match="format 99"):
        decode(b"\x81\xa6format\x63", [])
    with pytest.raises(CorruptData, match="unknown tag"):
        decode(b"\x82\xa6format\x01\xa4tree\x91\xa4what", [])


def test_plain_values_need_neither_torch_nor_pandas_nor_arrow() -> None:
    program = (
        "import sys, numpy as np\n"
        "from memories.tiers.codec import encode, decode\n"
        "e = encode({'a': np.arange(3000), 'b': [1, 'x']})\n"
        "decode(e.header, e.buffers)\n"
        "print([m for m in ('ray', 'torch', 'pandas', 'pyarrow', 'numba') if m in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert answer.stdout.strip() == "[]", answer.stderr
