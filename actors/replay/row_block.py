"""`RowBlock`: single rows in, batches out, for a schema that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import InvalidValue
from ...replay.columns import ColumnStore
from ...replay.schema import Schema


class RowBlock:
    """Collects rows in memory of the schema's own layout and hands them on, `batch_size` at a time.

    A row that `add` refuses was not taken. Not thread-safe.
    """

    def __init__(self, schema: Schema, batch_size: int, hand_on: Callable[[dict[str, Any]], Any]) -> None:
        if batch_size < 1:
            raise InvalidValue(f"batch_size begins at 1; got {batch_size}.")
        self._rows = ColumnStore(schema, batch_size)
        self._hand_on = hand_on
        self._batch_size = batch_size
        self._used = 0

    def __len__(self) -> int:
        """Rows that were not handed on yet."""
        return self._used

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        values = self._rows.check_row(row)
        self._rows.write_row(self._used, values)
        self._used += 1
        if self._used == self._batch_size:
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._used:
            columns = {name: view[: self._used].copy() for name, view in self._rows.views.items()}
            self._used = 0
            self._hand_on(columns)
