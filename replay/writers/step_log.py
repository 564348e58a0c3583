"""Steps of several environment streams, in order, kept until a writer has decided about them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValue
from .columns import Columns


class StepLog:
    """Preallocated columns of shape (streams, steps, ...); each stream has its own length.

    The columns (names, shapes, dtypes) are those of the first step. A later step that does not fit is
    refused before anything is written. Not thread-safe: a log belongs to one writer.
    """

    def __init__(self, num_streams: int, num_steps: int) -> None:
        if num_streams < 1 or num_steps < 1:
            raise InvalidValue(f"A log needs streams and steps; got {num_streams} and {num_steps}.")
        self.num_streams = num_streams
        self.num_steps = num_steps
        self.columns: Columns = {}
        self.lengths: NDArray[np.int64] = np.zeros(num_streams, np.int64)
        self._shapes: dict[str, tuple[int, ...]] = {}  # of one item of each column

    def check(self, row: Columns, leading: int) -> None:
        """Raise unless the row fits; its arrays have ``leading`` axes before those of one item."""
        if not self._shapes:
            return
        if row.keys() != self._shapes.keys():
            expected = ", ".join(sorted(self._shapes))
            raise InvalidValue(
                f"The columns changed: this writer began with {expected} "
                f"and now got {', '.join(sorted(row))}."
            )
        for name, array in row.items():
            shape = self._shapes[name]
            if array.shape[leading:] != shape:
                raise InvalidValue(
                    f"Column {name!r} changed its shape from {shape} to {array.shape[leading:]}."
                )
        for name, column in self.columns.items():
            if not np.can_cast(row[name].dtype, column.dtype, "same_kind"):
                raise InvalidValue(
                    f"Column {name!r} began as {column.dtype} and now is {row[name].dtype}, which does "
                    "not fit. Convert it to one dtype before writing."
                )

    def begin(self, row: Columns, leading: int) -> None:
        """Hold later steps to the names and shapes of this row, which is not stored."""
        if not self._shapes:
            self._shapes = {name: array.shape[leading:] for name, array in row.items()}

    def append_one(self, stream: int, row: Columns) -> None:
        """Append one step to one stream; the caller has checked the row and that there is room."""
        if not self.columns:
            self._allocate(row, leading=0)
        position = int(self.lengths[stream])
        for name, array in row.items():
            self.columns[name][stream, position] = array
        self.lengths[stream] = position + 1

    def append_each(self, streams: NDArray[np.int64], rows: Columns) -> None:
        """Append one step to each of these (different) streams."""
        if not self.columns:
            self._allocate(rows, leading=1)
        positions = self.lengths[streams]
        for name, array in rows.items():
            self.columns[name][streams, positions] = array
        self.lengths[streams] = positions + 1

    def drop_last(self, streams: NDArray[np.int64]) -> None:
        """Take back the last step of each of these streams."""
        self.lengths[streams] -= 1

    def mark_last(self, name: str, streams: NDArray[np.int64]) -> None:
        """Set a flag of the last step of these streams, where they have one."""
        filled = streams[self.lengths[streams] > 0]
        if len(filled):
            self.columns[name][filled, self.lengths[filled] - 1] = True

    def drop_first(self, counts: NDArray[np.int64]) -> None:
        """Forget the first ``counts[s]`` steps of every stream and move the rest to the front."""
        kept = self.lengths - counts
        offsets = np.arange(self.num_steps)
        streams, targets = np.nonzero((offsets < kept[:, None]) & (counts[:, None] > 0))
        if len(streams):
            sources = targets + counts[streams]
            for column in self.columns.values():
                column[streams, targets] = column[streams, sources]  # the right side is a copy
        self.lengths = kept

    def grow(self, num_steps: int) -> None:
        """Make room for more steps a stream."""
        used = int(self.lengths.max())
        for name, column in self.columns.items():
            larger = np.empty((self.num_streams, num_steps, *column.shape[2:]), column.dtype)
            larger[:, :used] = column[:, :used]
            self.columns[name] = larger
        self.num_steps = num_steps

    def _allocate(self, row: Columns, leading: int) -> None:
        self.begin(row, leading)
        shape = (self.num_streams, self.num_steps)
        self.columns = {
            name: np.empty((*shape, *array.shape[leading:]), array.dtype) for name, array in row.items()
        }

    def column(self, name: str) -> NDArray[Any]:
        """One column, all streams and steps; what lies beyond a stream's length is undefined."""
        return self.columns[name]
