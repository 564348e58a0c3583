"""The rows of one dense column in the order of their contents, for lookups by binary search.

It is a photograph: the column remembers which rows were written since, and adds them to every answer.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bounds import float_range, int_range
from .cells import equal_floats, equal_ints, equal_texts, equal_times, text_mask
from .dictionary import IntArray
from .filters import Compares, Equals, Exists, Test
from .matching import ABSENT, test_one
from .values import DATE, FLOAT, INT, OBJECT, TEXT, TIME, microseconds_since_epoch

if TYPE_CHECKING:
    from .column import Column

RowArray = npt.NDArray[np.uint32]

_MOST_CODES = 20_000  # beyond it a lookup for each code costs more than a scan


class OrderedIndex:
    """Sorted contents and their rows, apart for each kind that was present."""

    def __init__(self, kinds: npt.NDArray[np.uint8], ints: IntArray) -> None:
        self._parts: dict[int, tuple[npt.NDArray[Any], RowArray]] = {}
        # The three time kinds share one time line, so they share one part.
        for first, last in ((INT, INT), (FLOAT, FLOAT), (TEXT, TEXT), (TIME, DATE), (OBJECT, OBJECT)):
            rows = np.flatnonzero((kinds >= first) & (kinds <= last))
            if not len(rows):
                continue
            contents: npt.NDArray[Any] = ints[rows]
            if first == FLOAT:
                contents = contents.view(np.float64)
            order = np.argsort(contents, kind="stable")
            self._parts[first] = contents[order], rows[order].astype(np.uint32)

    @property
    def nbytes(self) -> int:
        return sum(contents.nbytes + rows.nbytes for contents, rows in self._parts.values())

    def ranges(self, column: Column, test: Test) -> list[RowArray] | None:
        """Slices of rows that together hold every row that passes; None where the index cannot tell."""
        if isinstance(test, Exists) or any(test_one(value, test) for value in (ABSENT, None, False, True)):
            return None
        found: list[RowArray] = []
        for kind, (contents, rows) in self._parts.items():
            if kind == OBJECT:
                found.append(rows)  # lists match by their elements: all of them are candidates
                continue
            bounds = self._text_codes(column, test) if kind == TEXT else _bounds(kind, test)
            if bounds is None:
                return None
            lows, highs = bounds
            starts = np.searchsorted(contents, lows, "left")
            ends = np.searchsorted(contents, highs, "right")
            wanted = np.flatnonzero(ends > starts)
            found.extend(
                rows[start:end]
                for start, end in zip(starts[wanted].tolist(), ends[wanted].tolist(), strict=True)
            )
        return found

    def _text_codes(self, column: Column, test: Test) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        if isinstance(test, Equals):
            codes = np.unique(np.array(equal_texts(column, test), np.int64))
            return codes, codes
        mask = text_mask(column, test)
        if mask is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if np.count_nonzero(mask) > _MOST_CODES:
            return None
        codes = np.flatnonzero(mask)
        return codes, codes


def _bounds(kind: int, test: Test) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Inclusive ranges of contents that can pass; None if NaN, which has no place in the order, could."""
    dtype: type = np.float64 if kind == FLOAT else np.int64
    values: list[Any] = []
    if isinstance(test, Equals):
        if kind == FLOAT and any(isinstance(value, float) and value != value for value in test.values):
            return None
        find = {INT: equal_ints, FLOAT: equal_floats}.get(kind, equal_times)
        wanted: npt.NDArray[Any] = np.unique(np.array(find(test), dtype))
        return wanted, wanted
    if isinstance(test, Compares):
        value = test.value
        is_time = isinstance(value, date)
        if is_time != (kind == TIME) or isinstance(value, (str, bytes, bool)) or value is None:
            return np.array(values, dtype), np.array(values, dtype)
        if is_time:
            value = microseconds_since_epoch(value)
        if value != value:
            return None
        low, high = float_range(test.side, value) if kind == FLOAT else int_range(test.side, value)
        if low <= high:
            return np.array([low], dtype), np.array([high], dtype)
    return np.array(values, dtype), np.array(values, dtype)
