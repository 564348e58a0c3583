"""Steps that a writer did not take, and whether they are given again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .columns import Columns


class RefusedSteps:
    """The step that was refused last, of each stream. Not thread-safe: it belongs to one writer."""

    def __init__(self) -> None:
        self._steps: dict[int, Columns] = {}

    def __bool__(self) -> bool:
        return bool(self._steps)

    def keep(self, streams: NDArray[np.int64], rows: Columns) -> None:
        """Remember the step of each of these streams."""
        for i, stream in enumerate(streams.tolist()):
            self._steps[stream] = {name: column[i].copy() for name, column in rows.items()}

    def forget(self, streams: NDArray[np.int64]) -> None:
        """These streams have gone on, or their episodes were cut."""
        for stream in streams.tolist():
            self._steps.pop(stream, None)

    def abandoned(self, streams: NDArray[np.int64], rows: Columns) -> NDArray[np.int64]:
        """Those of these streams that now take another step than the one that was refused."""
        return np.asarray(
            [
                stream
                for i, stream in enumerate(streams.tolist())
                if stream in self._steps and not _same(self._steps[stream], rows, i)
            ],
            np.int64,
        )


def _same(step: Columns, rows: Columns, i: int) -> bool:
    return all(
        np.array_equal(column, rows[name][i], equal_nan=column.dtype.kind in "fc")
        for name, column in step.items()
    )
