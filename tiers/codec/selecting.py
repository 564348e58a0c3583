"""Which bytes of a stored value make up some of its rows, worked out from the header alone.

Rows are along axis 0 of arrays and tensors in any order of axes, and elements of bytes and of lists of
numbers. Tables are selectable where all columns are of fixed width, in one chunk, with no missing
values: where the rows of the others lie is known to their buffers only.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import CorruptData, InvalidType, InvalidValue
from ..encoded import Ranges, Selection
from .dtypes import decode_dtype
from .header import Reference, Tree, pack_header, unpack_header
from .layout import Order

Indices = npt.NDArray[np.int64]

_FARTHEST = 2**62
"""Beyond the end of every value, and still a number that NumPy, torch and Arrow take."""


def check_bound(name: str, bound: object) -> int | None:
    """Where a slice begins or ends: a whole number, or None. What lies beyond the end of every
    value comes back as a number that is so too, and fits into 64 bits."""
    if bound is None:
        return None
    try:
        place = operator.index(bound)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"{name} must be a whole number or None, not {bound!r:.60}") from None
    return max(-_FARTHEST, min(place, _FARTHEST))


def check_indices(rows: object) -> Indices:
    """Numbers of rows as an array. Raises `InvalidType` for what is no one-dimensional sequence of whole
    numbers, and `InvalidValue` for numbers that no value has so many rows for."""
    try:
        numbers = np.asarray(rows)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        raise InvalidType(
            f"rows are selected by a one-dimensional sequence of integers, not by {rows!r:.60}"
        ) from None
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise InvalidType(
            f"rows are selected by a one-dimensional sequence of integers, not by {numbers.ndim} dimensions "
            f"of {numbers.dtype}: {rows!r:.60}"
        )
    if numbers.dtype == np.uint64 and numbers.max(initial=0) > _FARTHEST:
        raise InvalidValue(f"row {int(numbers.max())} of a value: no value has so many rows")
    return numbers.astype(np.int64, copy=False)


def select_rows(header: bytes | memoryview, start: int | None, stop: int | None) -> Selection:
    """The rows start:stop, which may be negative or beyond the end as in a slice.

    Raises `InvalidType` for a value that has no rows or whose rows cannot be told from the header, and for
    a start or stop that is no whole number.
    """
    return _select(header, slice(check_bound("start", start), check_bound("end", stop)))


def select_indices(header: bytes | memoryview, indices: Sequence[int] | npt.NDArray[Any]) -> Selection:
    """The rows with these numbers, in this order, repeated where they are; negative ones count from the
    end. Raises `InvalidType` as `select_rows` does, and `InvalidValue` for a row that does not exist."""
    return _select(header, check_indices(indices))


def _select(header: bytes | memoryview, rows: slice | Indices) -> Selection:
    tree, tree_buffer = unpack_header(header)
    if tree_buffer is not None:
        raise InvalidType("the value is a container of many parts, which can only be read as a whole")
    part = _Part(rows)
    try:
        selected = part.node(tree)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, InvalidType | InvalidValue | CorruptData):
            raise
        raise CorruptData(f"codec header cannot be read: {error}") from error
    return Selection(pack_header(tree=selected), tuple(part.sources), tuple(part.ranges))


class _Part:
    """The part of a value being put together: which ranges of which buffers, and the new tree."""

    def __init__(self, rows: slice | Indices) -> None:
        self.rows = rows
        self.sources: list[int] = []
        self.ranges: list[Ranges] = []

    def node(self, tree: Tree) -> Tree:
        if type(tree) is bytes:
            return self._take(tree, len(tree), 1)[1]
        if type(tree) is str:  # a short one, in the tree itself
            if not tree.isascii():
                raise InvalidType(_whole("text beyond ASCII"))
            _, taken = self._take(tree.encode(), len(tree), 1)
            return taken.decode() if type(taken) is bytes else taken
        tag = tree[0] if type(tree) is list and tree else type(tree).__name__
        match tag:
            case "array":
                _, is_recarray, dtype, shape, order, reference = tree
                width = decode_dtype(dtype).itemsize
                shape, order, reference = self._array(width, shape, order, reference)
                return ["array", is_recarray, dtype, shape, order, reference]
            case "tensor":
                *front, itemsize, shape, order, reference = tree
                return [*front, itemsize, *self._array(itemsize, shape, order, reference)]
            case "bytes" | "bytearray":
                return [tag, *self._take(tree[2], tree[1], 1)]
            case "str":
                _, is_ascii, length, reference = tree
                if not is_ascii:
                    raise InvalidType(_whole("text beyond ASCII"))
                return ["str", True, *self._take(reference, length, 1)]
            case "memoryview":
                _, code, shape, reference = tree
                return ["memoryview", code, *self._array(np.dtype(code).itemsize, shape, [], reference)[::2]]
            case "numbers":
                _, kind, dtype, count, reference = tree
                taken, reference = self._take(reference, count, 8)
                return ["numbers", kind, dtype, taken, reference]
            case "arrow":
                return self._arrow(tree)
            case _:
                raise InvalidType(_whole(f"a {tag}"))

    def _array(
        self, width: int, shape: list[int], order: Order, reference: Reference
    ) -> tuple[list[int], Order, Reference]:
        if not shape:
            raise InvalidType(_whole("an array without dimensions"))
        place = order.index(0) if order else 0
        stored = [shape[axis] for axis in order] if order else shape
        outer = math.prod(stored[:place])
        inner = math.prod(stored[place + 1 :]) * width
        taken, reference = self._take(reference, shape[0], inner, outer)
        return [taken, *shape[1:]], order, reference

    def _take(self, reference: Reference, count: int, width: int, outer: int = 1) -> tuple[int, Reference]:
        """Rows of a buffer that holds `outer` times `count` rows of `width` bytes."""
        begins, ends, taken = _row_ranges(self.rows, count)
        if type(reference) is bytes and outer * count * width != len(reference):
            raise CorruptData(f"{len(reference)} bytes cannot be {outer} x {count} rows of {width} bytes")
        bases = np.arange(outer, dtype=np.int64)[:, None] * count
        pairs = np.empty((outer, len(begins), 2), np.int64)
        np.add(bases, begins, out=pairs[:, :, 0])
        np.add(bases, ends, out=pairs[:, :, 1])
        ranges = pairs.reshape(-1, 2) * width
        if taken * outer * width == 0:
            return taken, b""
        if type(reference) is bytes:
            return taken, b"".join(reference[begin:end] for begin, end in ranges.tolist())
        if type(reference) is not int:
            raise CorruptData(f"codec tree refers to buffer {reference!r:.40}")
        self.sources.append(reference)
        self.ranges.append(ranges)
        return taken, len(self.sources) - 1

    def _arrow(self, tree: Tree) -> Tree:
        import pyarrow as pa

        from .tables import is_fixed

        _, kind, schema_bytes, count, columns = tree
        schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
        selected = []
        for field, column in zip(schema, columns, strict=True):
            if len(column) != 1:
                raise InvalidType(_whole("an Arrow value in several chunks"))
            ((length, skip, validity, own, children),) = column
            width = field.type.bit_width if is_fixed(field.type) else 0
            if skip or validity is not None or len(own) != 1 or children or width % 8 or not width:
                raise InvalidType(
                    _whole(f"an Arrow column of type {field.type} with missing values or texts")
                )
            taken, reference = self._take(own[0], length, width // 8)
            selected.append([[taken, 0, None, [reference], []]])
        return ["arrow", kind, schema_bytes, _row_ranges(self.rows, count)[2], selected]


def _row_ranges(rows: slice | Indices, count: int) -> tuple[Indices, Indices, int]:
    """Begin and end of each run of rows, and how many rows they are."""
    if type(count) is not int or count < 0:
        raise CorruptData(f"a value of {count!r:.20} rows")
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(count)
        stop = max(start, stop)
        return np.array([start]), np.array([stop]), stop - start
    lowest = int(rows.min(initial=0))
    if lowest < -count or int(rows.max(initial=-1)) >= count:
        wrong = rows[(rows < -count) | (rows >= count)]
        raise InvalidValue(
            f"row {int(wrong[0])} of a value of {count} rows: it has the rows 0 to {count - 1}"
        )
    begins = np.where(rows < 0, rows + count, rows) if lowest < 0 else rows
    return begins, begins + 1, len(begins)


def _whole(what: str) -> str:
    return f"{what} has no rows that could be read by themselves: read the whole value"
