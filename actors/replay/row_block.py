"""`RowBlock`: the rows of one call to a shard, as they are collected, in the layout of the shard's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValue
from ...replay.columns import ColumnStore
from ...replay.packed_batch import PackedBatch
from ...replay.schema import Schema


class RowBlock:
    """Memory for `capacity` rows, touched only as it is filled, and used again after `clear`.

    Rows are copied once, on their way in. Not thread-safe.
    """

    def __init__(self, schema: Schema, capacity: int) -> None:
        if capacity < 1:
            raise InvalidValue(f"a block has room for 1 row at least; got {capacity}.")
        self._rows = ColumnStore(schema, capacity)
        self._priorities: NDArray[np.float64] | None = None
        self.capacity = capacity
        self.used = 0
        self.prioritized = False
        """Whether the rows came with priorities: all of a block do, or none."""

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return self.capacity - self.used

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; one that is refused was not taken."""
        self._rows.write_row(self.used, self._rows.check_row(row))
        self.used += 1

    def write(
        self, columns: Sequence[NDArray[Any]], priorities: NDArray[np.float64] | None, start: int, stop: int
    ) -> None:
        """Take rows ``start`` to ``stop`` of checked columns; they must fit, and be of one kind."""
        until = self.used + stop - start
        whole = start == 0 and stop == len(columns[0])
        self._rows.write(
            slice(self.used, until), columns if whole else [column[start:stop] for column in columns]
        )
        if priorities is not None:
            if self._priorities is None:
                self._priorities = np.empty(self.capacity)
            self._priorities[self.used : until] = priorities[start:stop]
            self.prioritized = True
        self.used = until

    def columns(self) -> PackedBatch:
        """The rows as they lie here: views, which stand until `clear`."""
        return self._rows.pack(0, self.used)

    def priorities(self) -> NDArray[np.float64] | None:
        """Those of the rows, if they came with them: a view."""
        if not self.prioritized or self._priorities is None:
            return None
        return self._priorities[: self.used]

    def clear(self) -> None:
        """Hold nothing."""
        self.used = 0
        self.prioritized = False
