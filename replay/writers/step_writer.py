"""`StepWriter`: what writers of steps have in common, whatever they make of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .columns import Columns, Sink
from .outbox import Outbox
from .refused import RefusedSteps
from .step_log import StepLog
from .steps import TERMINATED, TRUNCATED, StepReader


class StepWriter(ABC):
    """Takes steps of several environments into a log, and calls its subclass where episodes end.

    Not to be used by itself. A step is checked before anything changes. Where the rows of the episodes that
    it ends cannot be made, it is taken back; after that nothing raises any more (see `Outbox.try_send`).
    """

    def __init__(
        self, sink: Sink, *, num_envs: int, num_steps: int, required: Sequence[str], batch_size: int
    ) -> None:
        self._outbox = Outbox(sink, batch_size)
        self._reader = StepReader(num_envs, required=required)
        self._log = StepLog(num_envs, num_steps)
        self._refused = RefusedSteps()

    def add(self, *, env_id: int = 0, **step: Any) -> None:
        """Take one step of one environment: ``add(obs=..., action=..., reward=..., ...)``."""
        stream, row = self._reader.read_one(env_id, step)
        self._log.check(row, leading=0)
        if self._refused:
            self._cut_abandoned(np.asarray([stream]), {name: array[None] for name, array in row.items()})
        self._make_room(int(self._log.lengths[stream]))
        self._log.append_one(stream, row)
        if row[TERMINATED] or row[TRUNCATED]:
            streams = np.asarray([stream])
            self._end(streams, streams, {name: array[None] for name, array in row.items()})

    def add_vector(self, *, env_ids: Sequence[int] | NDArray[Any] | None = None, **steps: Any) -> None:
        """Take one step of every environment, or of those in ``env_ids``; columns have one row each."""
        streams, rows = self._reader.read_each(env_ids, steps)
        self._log.check(rows, leading=1)
        if not len(streams):
            return
        if self._refused:
            self._cut_abandoned(streams, rows)
        self._make_room(int(self._log.lengths[streams].max()))
        self._log.append_each(streams, rows)
        ended = streams[rows[TERMINATED] | rows[TRUNCATED]]
        if len(ended):
            self._end(ended, streams, rows)

    def last_of(self, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The environments whose last step is still here, and this column of that step."""
        streams = np.flatnonzero(self._log.lengths)
        if not len(streams):
            return streams, np.empty(0)
        return streams, self._log.column(name)[streams, self._log.lengths[streams] - 1]

    @abstractmethod
    def flush(self) -> None:
        """Send what is complete; what running episodes still need stays."""

    @abstractmethod
    def cut(self, env_ids: Sequence[int] | NDArray[Any] | None = None) -> None:
        """These environments (default: all) are about to be reset: their last step was a truncation."""

    def close(self) -> None:
        """Cut running episodes after their last step (as truncated) and send everything."""
        self.cut()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _make_room(self, longest: int) -> None:
        """See to it that streams of this length can take one more step; may raise what the sink raises."""

    def _finished(self, streams: NDArray[np.int64]) -> list[Columns]:
        """The rows of episodes that end with the last step in the log; may raise, and changes nothing."""
        return []

    @abstractmethod
    def _ended(self, streams: NDArray[np.int64], finished: list[Columns]) -> None:
        """Episodes of these streams have ended with the step that is in the log. Raises nothing."""

    def _end(self, ended: NDArray[np.int64], streams: NDArray[np.int64], rows: Columns) -> None:
        """End episodes with the step that these streams have just taken, or take it back."""
        try:
            finished = self._finished(ended)
        except BaseException:
            self._log.drop_last(streams)
            self._refused.keep(streams, rows)
            raise
        self._ended(ended, finished)

    def _cut_abandoned(self, streams: NDArray[np.int64], rows: Columns) -> None:
        """Cut the episodes of which a refused step is not given again: a step is missing there."""
        abandoned = self._refused.abandoned(streams, rows)
        if len(abandoned):
            self.cut(abandoned)
        self._refused.forget(streams)
