"""One test of many cells at once: a comparison of arrays for each kind that the column has seen."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bounds import float_range, int_range, nearest_float
from .dictionary import BoolArray, IntArray
from .filters import Compares, Equals, Exists, MatchesRegex, Test
from .matching import ABSENT, test_any, test_one
from .values import (
    DATE,
    FALSE,
    FLOAT,
    INT,
    INT64_MAX,
    INT64_MIN,
    MISSING,
    NULL,
    OBJECT,
    TEXT,
    TIME,
    TIME_UTC,
    TRUE,
    microseconds_since_epoch,
)

if TYPE_CHECKING:
    from .column import Column

Kinds = npt.NDArray[np.uint8]


def test_cells(column: Column, test: Test, kinds: Kinds, ints: IntArray) -> BoolArray:
    """Which cells pass ``test``; a missing cell passes exactly where the value None would."""
    if isinstance(test, Exists):
        return np.asarray(kinds != MISSING)
    passed: BoolArray = np.zeros(len(kinds), np.bool_)
    for kind, value in ((NULL, None), (FALSE, False), (TRUE, True)):
        if column.has_seen(kind) and test_one(value, test):
            passed |= kinds == kind
    if test_one(ABSENT, test):
        passed |= kinds == MISSING
    if column.has_seen(INT):
        _accept(passed, kinds == INT, _test_ints(test, ints))
    if column.has_seen(FLOAT):
        _accept(passed, kinds == FLOAT, _test_floats(test, ints.view(np.float64)))
    if column.has_seen(TIME) or column.has_seen(TIME_UTC) or column.has_seen(DATE):
        _accept(passed, (kinds >= TIME) & (kinds <= DATE), _test_times(test, ints))
    if column.has_seen(TEXT):
        _test_texts(passed, column, test, kinds, ints)
    if column.has_seen(OBJECT):
        test_objects(passed, column, kinds, ints, lambda value: test_any(iter((value,)), test))
    return passed


def _accept(passed: BoolArray, of_kind: BoolArray, answers: BoolArray | None) -> None:
    if answers is not None:
        of_kind &= answers
        passed |= of_kind


def equal_ints(test: Equals) -> list[int]:
    """The operands of an equality that an int64 can equal."""
    return [
        int(value)
        for value in test.values
        if _is_number(value) and value == value and INT64_MIN <= value <= INT64_MAX and value == int(value)
    ]


def equal_floats(test: Equals) -> list[float]:
    """The operands of an equality that a float64 can equal, NaN left out."""
    return [float(nearest_float(v)) for v in test.values if _is_number(v) and nearest_float(v) == v]


def equal_times(test: Equals) -> list[int]:
    return [microseconds_since_epoch(value) for value in test.values if isinstance(value, date)]


def equal_texts(column: Column, test: Equals) -> list[int]:
    """The codes of those operands that occur in the column."""
    codes = (column.texts.find(value) for value in test.values if isinstance(value, str))
    return [code for code in codes if code is not None]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _test_ints(test: Test, ints: IntArray) -> BoolArray | None:
    if isinstance(test, Equals):
        return _is_one_of(ints, equal_ints(test))
    if isinstance(test, Compares) and _is_number(test.value) and test.value == test.value:
        low, high = int_range(test.side, test.value)
        return _is_between(ints, low, high, INT64_MIN, INT64_MAX)
    return None


def _test_floats(test: Test, floats: npt.NDArray[np.float64]) -> BoolArray | None:
    if isinstance(test, Equals):
        answers = _is_one_of(floats, equal_floats(test))
        if any(isinstance(value, float) and value != value for value in test.values):
            is_nan: BoolArray = np.isnan(floats)
            return is_nan if answers is None else answers | is_nan
        return answers
    if isinstance(test, Compares) and _is_number(test.value):
        if test.value != test.value:
            return np.isnan(floats) if test.side in ("gte", "lte") else None
        low, high = float_range(test.side, test.value)
        return _is_between(floats, low, high, -np.inf, np.inf)
    return None


def _test_times(test: Test, ints: IntArray) -> BoolArray | None:
    if isinstance(test, Equals):
        return _is_one_of(ints, equal_times(test))
    if isinstance(test, Compares) and isinstance(test.value, date):
        low, high = int_range(test.side, microseconds_since_epoch(test.value))
        return _is_between(ints, low, high, INT64_MIN, INT64_MAX)
    return None


def _test_texts(passed: BoolArray, column: Column, test: Test, kinds: Kinds, ints: IntArray) -> None:
    if isinstance(test, Equals):
        _accept(passed, kinds == TEXT, _is_one_of(ints, equal_texts(column, test)))
        return
    if isinstance(test, MatchesRegex):
        question = ("regex", test.pattern)
    elif isinstance(test, Compares) and isinstance(test.value, str):
        question = (test.side, test.value)
    else:
        return
    # Only cells of this kind hold codes of texts; the others would index out of range.
    of_kind = kinds == TEXT
    if of_kind.all():
        passed |= column.texts.answers_for(ints, *question)
    else:
        places = np.flatnonzero(of_kind)
        passed[places] |= column.texts.answers_for(ints[places], *question)


def test_objects(passed: BoolArray, column: Column, kinds: Kinds, ints: IntArray, ask: Any) -> None:
    """Overwrite the answers of cells that hold lists and the like: ``ask`` is called once a distinct one."""
    places = np.flatnonzero(kinds == OBJECT)
    codes, inverse = np.unique(ints[places], return_inverse=True)
    values = column.objects.values
    answers = np.fromiter((ask(values[code]) for code in codes.tolist()), np.bool_, len(codes))
    passed[places] = answers[inverse]


def _is_one_of(cells: npt.NDArray[Any], values: list[Any]) -> BoolArray | None:
    if not values:
        return None
    if len(values) == 1:
        return np.asarray(cells == cells.dtype.type(values[0]))
    return np.isin(cells, np.array(values, cells.dtype))


def _is_between(cells: npt.NDArray[Any], low: Any, high: Any, lowest: Any, highest: Any) -> BoolArray | None:
    if not low <= high:
        return None
    if low == lowest and high == highest:
        # every number is in the range, only NaN is not
        return np.asarray(cells == cells)
    if low == lowest:
        return np.asarray(cells <= high)
    if high == highest:
        return np.asarray(cells >= low)
    return np.asarray((cells >= low) & (cells <= high))
