"""A sink that keeps what it is given, and can refuse."""

from __future__ import annotations

from typing import Any

import numpy as np


class ListSink:
    """Takes batches into lists; refuses the next `refusals` calls."""

    def __init__(self) -> None:
        self.batches: list[dict[str, np.ndarray]] = []
        self.refusals = 0

    def add_batch(self, columns: dict[str, np.ndarray], /) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("the shard does not answer")
        assert len({len(column) for column in columns.values()}) == 1
        self.batches.append({name: column.copy() for name, column in columns.items()})

    @property
    def columns(self) -> dict[str, np.ndarray]:
        names = self.batches[0].keys() if self.batches else ()
        return {name: np.concatenate([batch[name] for batch in self.batches]) for name in names}

    def rows(self) -> list[dict[str, Any]]:
        columns = self.columns
        count = len(next(iter(columns.values()))) if columns else 0
        return [{name: column[i].tolist() for name, column in columns.items()} for i in range(count)]
