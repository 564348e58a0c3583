"""Samplers of runs of consecutive rows, for recurrent learners, and of whole episodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, NothingToSample
from .handles import Slots
from .selector import Draw, Rows, Selector
from .trajectories import TrajectoryIndex


class TrajectorySampler(Selector):
    """Base of both. ``end_columns`` are true at an episode's last row (default: those of ``terminated``,
    ``truncated`` and ``done`` that the schema has). ``stream_column`` tells the rows of several
    environments apart when they are inserted interleaved; without it all rows are one stream.
    """

    draws_single_rows = False
    _pending_limit = 4096

    def __init__(self, *, end_columns: Sequence[str] | None = None, stream_column: str | None = None) -> None:
        super().__init__()
        self._end_columns = end_columns
        self._stream_column = stream_column

    @property
    def sequence_length(self) -> int | None:
        return None

    def bind(self, rows: Rows) -> None:
        # The index first: it raises where the schema does not do, and then we serve no buffer yet.
        self.index = TrajectoryIndex(rows, self.sequence_length, self._end_columns, self._stream_column)
        super().bind(rows)
        # New rows are linked together, at the next draw, or before one of them is overwritten.
        self._pending = np.empty(min(self._pending_limit, rows.slots.capacity), dtype=np.int64)
        self._pending_count = 0

    def make_room(self, count: int) -> None:
        if self._pending_count + count > self.rows.slots.capacity:
            self.flush()

    def insert(self, slots: Slots) -> None:
        if self._pending_count + slots.size > self._pending.size:
            self.flush()
            if slots.size > self._pending.size:
                self.index.insert(slots)
                return
        self._pending[self._pending_count : self._pending_count + slots.size] = slots
        self._pending_count += slots.size

    def insert_one(self, slot: int) -> None:
        if self._pending_count == self._pending.size:
            self.flush()
        self._pending[self._pending_count] = slot
        self._pending_count += 1

    def flush(self) -> None:
        """Link the rows that were inserted since the last draw."""
        if self._pending_count:
            slots = self._pending[: self._pending_count].copy()
            self._pending_count = 0
            self.index.insert(slots)

    def remove(self, slots: Slots) -> None:
        self.flush()
        self.index.remove(slots)

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        self.flush()
        return self._draw(count, rng)

    @abstractmethod
    def _draw(self, count: int, rng: np.random.Generator) -> Draw:
        """Draw from an index that knows all rows."""

    def rebuild(self) -> None:
        """The links are part of the exported state: neighbours alone do not tell who followed whom."""

    def bytes_per_row(self) -> int:
        return 8 * 10 + 1

    def export_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        self.flush()
        return {}, self.index.export_state()

    def import_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._pending_count = 0
        self.index.import_state(arrays)


class SequenceSampler(TrajectorySampler):
    """Runs of ``length`` consecutive rows of one episode; every such run with equal probability.

    A run never crosses an episode's end, the write position, or a row that was removed. Batches have
    columns of shape ``(runs, length, ...)``; a handle names the first row of a run.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=SequenceSampler(2), seed=0)
        >>> _ = buffer.add_batch({"x": np.arange(6), "terminated": np.zeros(6, bool)})
        >>> x = buffer.sample(3)["x"]
        >>> x.shape, (x[:, 1] - x[:, 0]).tolist()
        ((3, 2), [1, 1, 1])
    """

    def __init__(
        self, length: int, *, end_columns: Sequence[str] | None = None, stream_column: str | None = None
    ) -> None:
        super().__init__(end_columns=end_columns, stream_column=stream_column)
        if length < 1:
            raise InvalidValue(f"length is {length} rows, must be at least 1.")
        self._length = length

    @property
    def sequence_length(self) -> int:
        return self._length

    def _draw(self, count: int, rng: np.random.Generator) -> Draw:
        starts = self.index.sequences
        if starts.count == 0:
            raise NothingToSample(
                f"No episode has {self._length} rows in a row among the {self.rows.slots.count} stored."
            )
        return Draw(self.index.runs(starts.draw(count, rng), self._length), starts.count)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"length": self._length, "stream_column": self._stream_column}


class EpisodeSampler(TrajectorySampler):
    """Whole episodes, each complete one with equal probability.

    An episode counts from its end on, until one of its rows leaves. Batches hold the rows of the
    episodes one after another: see `Batch.lengths` and `Batch.episodes`.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=EpisodeSampler(), seed=0)
        >>> _ = buffer.add_batch({"x": np.arange(3), "terminated": np.array([False, False, True])})
        >>> buffer.sample(1)["x"].tolist()
        [0, 1, 2]
    """

    def _draw(self, count: int, rng: np.random.Generator) -> Draw:
        complete = self.index.episodes
        if complete.count == 0:
            raise NothingToSample(
                f"No complete episode among the {self.rows.slots.count} rows stored (the end column must "
                "be true in its last row, and its first row still be there)."
            )
        slots, lengths = self.index.whole(complete.draw(count, rng))
        return Draw(slots, complete.count, lengths=lengths)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"stream_column": self._stream_column}
