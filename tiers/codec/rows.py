"""`rows_of`: rows of a value that is in memory, for those whose rows cannot be told from the header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import InvalidType, InvalidValue


def rows_of(value: Any, start: int | None, stop: int | None, indices: Sequence[int] | None = None) -> Any:
    """value[start:stop], or the rows with these numbers, of a text, list, tuple, frame, series, index or
    Arrow table. Raises `InvalidType` for a value that has no rows, and `InvalidValue` for rows that do
    not exist."""
    root = type(value).__module__.partition(".")[0]
    if not (
        isinstance(value, str | list | tuple) or (root in ("pandas", "pyarrow") and hasattr(value, "take"))
    ):
        raise InvalidType(f"a {type(value).__name__} has no rows: read the whole value")
    if indices is None:
        if root == "pyarrow":
            begin, end, _ = slice(start, stop).indices(len(value))
            return value.slice(begin, max(0, end - begin))
        return value.iloc[start:stop] if hasattr(value, "iloc") else value[start:stop]
    rows = np.asarray(indices)
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise InvalidType(f"rows are selected by a sequence of integers, not by {rows.ndim}-d {rows.dtype}")
    count = len(value)
    wrong = rows[(rows < -count) | (rows >= count)]
    if wrong.size:
        raise InvalidValue(
            f"row {int(wrong[0])} of a value of {count} rows: it has the rows 0 to {count - 1}"
        )
    places = np.where(rows < 0, rows + count, rows).astype(np.int64)
    if root in ("pandas", "pyarrow"):
        return value.take(places)
    picked = [value[place] for place in places.tolist()]
    if isinstance(value, str):
        return "".join(picked)
    return picked if isinstance(value, list) else tuple(picked)
