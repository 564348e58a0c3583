"""The rows of one dense column in the order of their contents, for lookups by binary search.

It is a photograph: the column remembers which rows were written since, and adds them to every answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .bounds import float_range, int_range
from .cells import equal_floats, equal_ints, equal_texts, equal_times
from .dictionary import IntArray, TextDictionary
from .filters import Compares, Equals, Exists, MatchesRegex, Test
from .matching import ABSENT, test_one
from .values import DATE, FLOAT, INT, OBJECT, TEXT, TIME, microseconds_since_epoch

if TYPE_CHECKING:
    from .column import Column

RowArray = npt.NDArray[np.uint32]

_COSTLY_TEXTS: Final = 10_000  # a pattern is asked of so many texts only where nothing cheaper narrows down


class Ranges(NamedTuple):
    """Disjoint inclusive ranges of contents, ascending."""

    lows: npt.NDArray[Any]
    highs: npt.NDArray[Any]

    def intersect(self, other: Ranges) -> Ranges:
        """What lies in both, or more where that is not worth finding out."""
        if len(self.lows) == 1:
            return other._clip(self)
        if len(other.lows) == 1:
            return self._clip(other)
        if self.lows is self.highs and other.lows is other.highs:
            points = np.intersect1d(self.lows, other.lows)
            return Ranges(points, points)
        return self if len(self.lows) < len(other.lows) else other

    def _clip(self, one: Ranges) -> Ranges:
        lows = np.maximum(self.lows, one.lows[0])
        highs = np.minimum(self.highs, one.highs[0])
        left = lows <= highs
        return Ranges(lows[left], highs[left])


class OrderedIndex:
    """Sorted contents and their rows, apart for each kind that was present. Text is sorted as text."""

    def __init__(self, kinds: npt.NDArray[np.uint8], ints: IntArray, texts: TextDictionary) -> None:
        self._parts: dict[int, tuple[npt.NDArray[Any], RowArray]] = {}
        self._sorted_codes, self._rank_of_code = texts.order()
        # The three time kinds share one time line, so they share one part.
        for first, last in ((INT, INT), (FLOAT, FLOAT), (TEXT, TEXT), (TIME, DATE), (OBJECT, OBJECT)):
            rows = np.flatnonzero((kinds >= first) & (kinds <= last))
            if not len(rows):
                continue
            contents: npt.NDArray[Any] = ints[rows]
            if first == FLOAT:
                contents = contents.view(np.float64)
            elif first == TEXT:
                contents = self._rank_of_code[contents]
            order = np.argsort(contents, kind="stable")
            self._parts[first] = contents[order], rows[order].astype(np.uint32)

    @property
    def nbytes(self) -> int:
        arrays = [array for part in self._parts.values() for array in part]
        return sum(array.nbytes for array in (*arrays, self._sorted_codes, self._rank_of_code))

    def rows(
        self, column: Column, tests: Sequence[Test], limit: int, *, cheap: bool
    ) -> list[RowArray] | None:
        """Slices of rows that together hold every row that passes all ``tests``.

        None where the index cannot tell, where they would be more than ``limit``, or, if it has to be
        ``cheap``, where only a pattern over many texts could tell.
        """
        useful = [test for test in tests if not _passes_beside_contents(test)]
        if not useful:
            return None
        found: list[RowArray] = []
        total = 0
        for kind, (contents, rows) in self._parts.items():
            if kind == OBJECT:
                found.append(rows)  # lists match by their elements: all of them are candidates
                total += len(rows)
                continue
            ranges = self._ranges(kind, column, useful, cheap)
            if ranges is None:
                return None
            starts = np.searchsorted(contents, ranges.lows, "left")
            ends = np.searchsorted(contents, ranges.highs, "right")
            total += int((ends - starts).sum())
            if total > limit:
                return None
            wanted = np.flatnonzero(ends > starts)
            found.extend(
                rows[start:end]
                for start, end in zip(starts[wanted].tolist(), ends[wanted].tolist(), strict=True)
            )
        return found if total <= limit else None

    def _ranges(self, kind: int, column: Column, tests: list[Test], cheap: bool) -> Ranges | None:
        together: Ranges | None = None
        for test in tests:
            ranges = self._text_ranges(column, test, cheap) if kind == TEXT else _bounds(kind, test)
            if ranges is not None:
                together = ranges if together is None else together.intersect(ranges)
        return together

    def _text_ranges(self, column: Column, test: Test, cheap: bool) -> Ranges | None:
        texts = column.texts
        ranks: npt.NDArray[Any] = np.zeros(0, np.int64)
        if isinstance(test, Equals):
            # Codes beyond the photograph are of rows that were written since.
            codes = [code for code in equal_texts(column, test) if code < len(self._rank_of_code)]
            ranks = np.unique(self._rank_of_code[np.array(codes, np.int64)])
        elif isinstance(test, MatchesRegex):
            if cheap and len(texts) > _COSTLY_TEXTS:
                return None
            mask = texts.mask_where_regex(test.pattern)[: len(self._rank_of_code)]
            ranks = np.sort(self._rank_of_code[np.flatnonzero(mask)])
        elif isinstance(test, Compares) and isinstance(test.value, str):
            find = bisect_left if test.side in ("gte", "lt") else bisect_right
            place = find(self._sorted_codes, test.value, key=texts.values.__getitem__)
            low, high = (place, len(self._sorted_codes)) if test.side in ("gt", "gte") else (0, place - 1)
            return Ranges(np.array([low]), np.array([high]))
        return Ranges(ranks, ranks)


def _passes_beside_contents(test: Test) -> bool:
    """Whether cells that are in no part (missing, None, bools) can pass: then the parts are not all."""
    return isinstance(test, Exists) or any(test_one(value, test) for value in (ABSENT, None, False, True))


def _bounds(kind: int, test: Test) -> Ranges | None:
    """Contents of numbers or times that can pass; None if NaN could, which has no place in the order."""
    dtype: type = np.float64 if kind == FLOAT else np.int64
    nothing = Ranges(np.zeros(0, dtype), np.zeros(0, dtype))
    if isinstance(test, Equals):
        if kind == FLOAT and any(isinstance(value, float) and value != value for value in test.values):
            return None
        find = {INT: equal_ints, FLOAT: equal_floats}.get(kind, equal_times)
        points: npt.NDArray[Any] = np.unique(np.array(find(test), dtype))
        return Ranges(points, points)
    if not isinstance(test, Compares):
        return nothing
    value = test.value
    is_time = isinstance(value, date)
    if is_time != (kind == TIME) or value is None or isinstance(value, (str, bytes, bool)):
        return nothing
    if is_time:
        value = microseconds_since_epoch(value)
    if value != value:
        return None
    low, high = float_range(test.side, value) if kind == FLOAT else int_range(test.side, value)
    return Ranges(np.array([low], dtype), np.array([high], dtype)) if low <= high else nothing
