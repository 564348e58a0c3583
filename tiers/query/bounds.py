"""Comparisons with a number, exact for ints and floats of any size.

A column holds ints as int64 and floats as float64, and an operand may be an int beyond both. Each
comparison becomes one inclusive range of int64 and one inclusive range of float64.
"""

from __future__ import annotations

import math
from typing import Final

from .values import INT64_MAX, INT64_MIN

EMPTY_INTS: Final = (1, 0)


def int_range(side: str, operand: float) -> tuple[int, int]:
    """The smallest and the largest int64 on the given side of ``operand``; `EMPTY_INTS` if there is none."""
    if operand in (math.inf, -math.inf):
        everything = (operand > 0) == (side in ("lt", "lte"))
        return (INT64_MIN, INT64_MAX) if everything else EMPTY_INTS
    low, high = INT64_MIN, INT64_MAX
    match side:
        case "gt":
            low = math.floor(operand) + 1
        case "gte":
            low = math.ceil(operand)
        case "lt":
            high = math.ceil(operand) - 1
        case _:
            high = math.floor(operand)
    if low > INT64_MAX or high < INT64_MIN:
        return EMPTY_INTS
    return max(low, INT64_MIN), min(high, INT64_MAX)


def float_range(side: str, operand: float) -> tuple[float, float]:
    """The smallest and the largest float64 on the given side of ``operand``, infinities included."""
    nearest = nearest_float(operand)
    match side:
        case "gt":
            return _first_above(operand, nearest, inclusive=False), math.inf
        case "gte":
            return _first_above(operand, nearest, inclusive=True), math.inf
        case "lt":
            return -math.inf, -_first_above(-operand, -nearest, inclusive=False)
        case _:
            return -math.inf, -_first_above(-operand, -nearest, inclusive=True)


def nearest_float(operand: float) -> float:
    try:
        return float(operand)
    except OverflowError:
        return math.inf if operand > 0 else -math.inf


def _first_above(operand: float, nearest: float, *, inclusive: bool) -> float:
    if nearest > operand or (inclusive and nearest == operand):
        return nearest
    # NaN is in no range, and so stands for "nothing is greater than infinity".
    return math.nan if nearest == math.inf else math.nextafter(nearest, math.inf)
