"""Whole episodes: collected step by step, written in one piece when they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Columns, Sink, common_length, concatenate
from .refused import RefusedSteps
from .step_writer import StepWriter
from .steps import TERMINATED, TRUNCATED

INITIAL_STEPS = 64


class EpisodeWriter(StepWriter):
    """Gives the sink one call an episode, with its steps in order and next to each other.

    That is what samplers of sequences and of whole episodes want, and what hindsight needs: ``relabel``
    takes the columns of a finished episode and returns further rows (see `Hindsight`), which are written
    behind the episode in the same call.

    Steps of an episode stay in this process until it ends; memory is that of the longest episode times
    ``num_envs``. `close` (or leaving the ``with`` block) marks running episodes as truncated after their
    last step and writes them; `discard` forgets them.

    If `add` or `add_vector` raises, the step was not taken, also where ``relabel`` raised: give it again.
    An environment that goes on with another step instead has its episode cut before that. What the sink
    refuses is kept and goes out first in the next call, which raises if the sink refuses again. Not
    thread-safe: one writer a thread.

    Examples:
        >>> from memories.replay import EpisodeWriter, ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=100)
        >>> with EpisodeWriter(buffer) as writer:
        ...     for step in range(5):
        ...         writer.add(obs=float(step), reward=1.0, terminated=step == 4, truncated=False)
        >>> len(buffer)
        5
    """

    def __init__(
        self, sink: Sink, *, num_envs: int = 1, relabel: Callable[[Columns], Columns] | None = None
    ) -> None:
        super().__init__(
            sink, num_envs=num_envs, num_steps=INITIAL_STEPS, required=(TERMINATED, TRUNCATED), batch_size=1
        )
        self._relabel = relabel

    def flush(self) -> None:
        """Send finished episodes that the sink has refused before; running episodes stay."""
        self._outbox.send()

    def discard(self) -> None:
        """Forget the steps of running episodes."""
        self._log.drop_first(self._log.lengths)
        self._refused = RefusedSteps()

    def cut(self, env_ids: Sequence[int] | NDArray[Any] | None = None) -> None:
        """These environments (default: all) are about to be reset: their last step was a truncation."""
        self._outbox.send_failed()
        streams = self._reader.read_ids(env_ids)
        running = streams[self._log.lengths[streams] > 0]
        if len(running):
            finished = self._finished(running, truncate=True)
            self._ended(running, finished)
        self._refused.forget(streams)

    def _make_room(self, longest: int) -> None:
        self._outbox.send_failed()
        if longest >= self._log.num_steps:
            self._log.grow(2 * self._log.num_steps)

    def _finished(self, streams: NDArray[np.int64], truncate: bool = False) -> list[Columns]:
        finished = []
        for stream in streams.tolist():
            length = int(self._log.lengths[stream])
            episode = {name: column[stream, :length].copy() for name, column in self._log.columns.items()}
            if truncate:
                episode[TRUNCATED][-1] = True
            parts = [episode] if self._relabel is None else [episode, self._relabel(episode)]
            rows = concatenate(parts)
            common_length(rows)
            finished.append(rows)
        return finished

    def _ended(self, streams: NDArray[np.int64], finished: list[Columns]) -> None:
        for rows in finished:
            self._outbox.put(rows)
        counts = np.zeros_like(self._log.lengths)
        counts[streams] = self._log.lengths[streams]
        self._log.drop_first(counts)
        self._outbox.try_send()
