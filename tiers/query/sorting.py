"""The order of query results, by MongoDB's order of types: None and missing first, then numbers, text,
dictionaries, lists without elements, bytes, bools, datetimes. A list sorts by its smallest element going
up and by its greatest going down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np

from ...errors import InvalidType, InvalidValue
from .column import Column
from .dictionary import IntArray
from .matching import ABSENT, resolve
from .values import DATE, FALSE, FLOAT, INT, OBJECT, TEXT, TIME, TRUE, check_name, microseconds_since_epoch

Sort = str | Sequence[tuple[str, int]] | Mapping[str, int]

_NOTHING: Final = 0
_NUMBER: Final = 1
_TEXT: Final = 2
_DICT: Final = 3
_LIST: Final = 4
_BYTES: Final = 5
_BOOL: Final = 6
_TIME: Final = 7


def parse_sort(sort: Sort | None) -> list[tuple[str, bool]]:
    """Pairs of path and whether it descends, from ``"field"``, ``"-field"``, ``[("field", -1)]`` or a
    dictionary of these; `InvalidType` or `InvalidValue` for anything else."""
    if sort is None:
        return []
    if isinstance(sort, str):
        sort = [(sort.removeprefix("-"), -1 if sort.startswith("-") else 1)]
    pairs = list(sort.items()) if isinstance(sort, Mapping) else list(sort)
    parsed: list[tuple[str, bool]] = []
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise InvalidType(f"sort takes 'field', '-field' or pairs such as ('field', -1), not {pair!r}")
        path, direction = pair
        if isinstance(direction, bool) or direction not in (1, -1):
            raise InvalidValue(
                f"the direction of sort field {path!r} is 1 (up) or -1 (down), not {direction!r}"
            )
        parsed.append((check_name(path, path), direction == -1))
    return parsed


def order_rows(
    rows: IntArray,
    sort: list[tuple[str, bool]],
    column_of: Callable[[str], Column | None],
    row_count: int,
    read_path: Callable[[int, str], Any],
) -> IntArray:
    """``rows`` sorted; rows that are equal in every field keep their order.

    ``column_of`` returns the column that alone decides a path, or None where rows must be read one by
    one through ``read_path`` (dictionaries and lists on the way).
    """
    ranks: list[IntArray] = []
    for path, descending in sort:
        column = column_of(path)
        if column is None:
            rank = _rank_of_values([read_path(row, path) for row in rows.tolist()], descending)
        else:
            rank = _rank_of_column(column, rows, row_count, descending)
        ranks.append(-rank if descending else rank)
    return rows[np.lexsort(ranks[::-1])] if ranks else rows


def _rank_of_column(column: Column, rows: IntArray, row_count: int, descending: bool) -> IntArray:
    kinds, ints = column.cells(row_count, rows)
    places_of_objects = np.flatnonzero(kinds == OBJECT)
    has_ints, has_floats = bool(np.any(kinds == INT)), bool(np.any(kinds == FLOAT))
    exact = not (has_ints and has_floats) or bool(np.all(np.abs(ints[kinds == INT].astype(float)) < 2.0**53))
    if len(places_of_objects) or not exact:
        return _rank_of_values(
            [
                column.get(row) if kind else None
                for row, kind in zip(rows.tolist(), kinds.tolist(), strict=True)
            ],
            descending,
        )
    rank = np.zeros(len(rows), np.int64)
    base = 1
    base = _rank_numbers(rank, base, kinds, ints)
    text = kinds == TEXT
    if text.any():
        codes, inverse = np.unique(ints[text], return_inverse=True)
        texts = np.array([column.texts.values[code] for code in codes.tolist()], object)
        places = np.empty(len(texts), np.int64)
        places[np.argsort(texts, kind="stable")] = np.arange(len(texts))
        rank[text] = base + places[inverse]
        base += len(texts)
    for truth in (FALSE, TRUE):
        rank[kinds == truth] = base
        base += 1
    times = (kinds >= TIME) & (kinds <= DATE)
    if times.any():
        rank[times] = base + np.unique(ints[times], return_inverse=True)[1]
    return rank


def _rank_numbers(rank: IntArray, base: int, kinds: Any, ints: IntArray) -> int:
    is_int, is_float = kinds == INT, kinds == FLOAT
    if not is_float.any():
        numbers: Any = ints[is_int]
    else:
        numbers = np.where(is_int, ints.astype(np.float64), ints.view(np.float64))[is_int | is_float]
    if not len(numbers):
        return base
    distinct, inverse = np.unique(numbers, return_inverse=True)
    # NaN sorts below every number, and NumPy puts it last.
    not_a_number = distinct != distinct
    places = np.where(not_a_number, 0, np.arange(len(distinct)) + 1)[inverse]
    rank[is_int | is_float] = base + places
    return base + len(distinct) + 1


def _rank_of_values(values: list[Any], descending: bool) -> IntArray:
    keys = [_sort_key(value, descending) for value in values]
    order = {key: place for place, key in enumerate(sorted(set(keys)))}
    return np.array([order[key] for key in keys], np.int64)


def _sort_key(value: Any, descending: bool) -> tuple[int, Any]:
    if isinstance(value, (list, tuple)):
        if not value:
            return _NOTHING, 0
        keys = [_plain_key(item) for item in value]
        return max(keys) if descending else min(keys)
    return _plain_key(value)


def _plain_key(value: Any) -> tuple[int, Any]:
    if value is None or value is ABSENT:
        return _NOTHING, 1
    if isinstance(value, bool):
        return _BOOL, value
    if isinstance(value, (int, float)):
        return _NUMBER, (0, 0) if value != value else (1, value)
    if isinstance(value, str):
        return _TEXT, value
    if isinstance(value, bytes):
        return _BYTES, value
    if isinstance(value, date):
        return _TIME, microseconds_since_epoch(value)
    # Dictionaries and lists in lists have some order that stays the same, and no meaning.
    return (_DICT if isinstance(value, dict) else _LIST), repr(value)


def value_for_sorting(document: dict[str, Any], path: str) -> Any:
    """The one value by which a document sorts: what its path reaches, as a list if that is several."""
    reached = list(resolve(document, path.split(".")))
    return reached[0] if len(reached) == 1 else reached
