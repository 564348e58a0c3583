"""Transitions over n steps: discounted rewards, and where and how much to bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValue
from .columns import Columns, Sink
from .step_writer import StepWriter
from .steps import REWARD, TERMINATED, TRUNCATED

DISCOUNT = "discount"


def n_step_windows(
    rewards: NDArray[Any], ends: NDArray[np.bool_], lengths: NDArray[np.int64], n: int, gamma: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Follow the window that begins at every step until n steps, an episode's end, or the data's end.

    ``rewards`` and ``ends`` have shape (streams, steps); only the first ``lengths[s]`` steps of stream
    s count. Returns, each of that shape: the discounted sum of rewards, the number of steps in it, and
    whether the window is complete (n steps or an episode's end). A window never crosses an end.

    Examples:
        >>> rewards, ends = np.ones((1, 4)), np.array([[False, False, False, True]])
        >>> totals, steps, complete = n_step_windows(rewards, ends, np.array([4]), n=3, gamma=1.0)
        >>> totals.tolist(), steps.tolist()
        ([[3.0, 3.0, 2.0, 1.0]], [[3, 3, 2, 1]])
    """
    num_steps = rewards.shape[1]
    exists = np.arange(num_steps) < lengths[:, None]
    rewards = rewards.astype(np.float64)
    totals = np.zeros(rewards.shape, np.float64)
    steps = np.zeros(rewards.shape, np.int64)
    complete = np.zeros(rewards.shape, np.bool_)
    running = exists.copy()
    for k in range(min(n, num_steps)):
        inside = running[:, : num_steps - k] & exists[:, k:]
        totals[:, : num_steps - k] += np.where(inside, gamma**k * rewards[:, k:], 0.0)
        steps[:, : num_steps - k] += inside
        ended = inside & ends[:, k:]
        complete[:, : num_steps - k] |= ended
        running[:, : num_steps - k] = inside & ~ended
        running[:, num_steps - k :] = False
    complete |= steps == n
    return totals, steps, complete


class NStepWriter(StepWriter):
    """Turns a stream of steps into n-step transitions and sends them to a sink in batches.

    A step needs ``reward``, ``terminated``, ``truncated`` and whatever else the buffer stores (``obs``,
    ``action``, ``next_obs``, dicts allowed). The transition that begins at step t and spans m steps
    (m = n, or fewer where the episode ends first) has

    - ``reward``: sum of gamma^k * reward[t+k] for k < m;
    - every column named ``next_...``: that of step t+m-1, so ``next_obs`` is the state after m steps;
    - ``terminated`` and ``truncated``: those of step t+m-1;
    - ``discount``: gamma^m, or 0 where the episode *terminated*. The learner's target is
      ``reward + discount * value(next_obs)``: an episode that was cut off (truncated) still bootstraps;
    - all other columns: those of step t.

    So ``next_obs`` of a truncated step has to be the last observation of the episode, not the first one
    of the next (`adaptors.vector_env.VectorRecorder` sees to that for vector environments).

    At the end of an episode the shorter windows are written out, and, with ``send_at_episode_end``, sent.
    `close` (or leaving the ``with`` block) treats running episodes as truncated after their last step.

    If `add` or `add_vector` raises, the step was not taken and may be given again. What a sink refuses is
    kept and goes out first in the next call, which raises (before taking its step) if the sink refuses
    again. Rows of one environment stay in order. Not thread-safe: one writer a thread.

    Examples:
        >>> from memories.replay import NStepWriter, ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=100)
        >>> with NStepWriter(buffer, n=3, gamma=0.9) as writer:
        ...     for t in range(5):
        ...         writer.add(obs=t, next_obs=t + 1, reward=1.0, terminated=t == 4, truncated=False)
        >>> batch = buffer.sample(100)
        >>> {int(obs): float(reward) for obs, reward in zip(batch["obs"], batch["reward"])}[0]
        2.71
    """

    def __init__(
        self,
        sink: Sink,
        n: int = 1,
        gamma: float = 0.99,
        *,
        num_envs: int = 1,
        batch_size: int = 64,
        send_at_episode_end: bool = True,
    ) -> None:
        if n < 1 or num_envs < 1 or batch_size < 1:
            raise InvalidValue(f"n, num_envs and batch_size begin at 1; got {n}, {num_envs}, {batch_size}.")
        if not 0.0 <= gamma <= 1.0:
            raise InvalidValue(f"gamma lies between 0 and 1; got {gamma}.")
        self.n = n
        self.gamma = gamma
        super().__init__(
            sink,
            num_envs=num_envs,
            # One drain yields about a batch: the last steps of each stream stay behind.
            num_steps=max(n - 1, 1) + max(1, -(-batch_size // num_envs)),
            required=(REWARD, TERMINATED, TRUNCATED),
            batch_size=batch_size,
        )
        self._send_at_episode_end = send_at_episode_end

    def flush(self) -> None:
        """Send every transition that is complete; open windows of running episodes stay.

        With n = 1 the newest step of a running episode stays, since a cut may still make it the last one.
        """
        if self._log.columns:
            self._drain()
        self._outbox.send()

    def discard(self) -> None:
        """Forget the steps whose windows are open; complete transitions stay."""
        if self._log.columns:
            if self.n == 1:
                self.cut()  # the newest steps are complete, and their episodes do not go on
            self._drain()
            self._log.drop_first(self._log.lengths)

    def cut(self, env_ids: Sequence[int] | NDArray[Any] | None = None) -> None:
        """These environments (default: all) are about to be reset: their last step was a truncation."""
        self._log.mark_last(TRUNCATED, self._reader.read_ids(env_ids))

    def _make_room(self, longest: int) -> None:
        self._outbox.send_failed()
        if longest >= self._log.num_steps:
            self._drain()
            self._outbox.send_full()

    def _ended(self, streams: NDArray[np.int64], finished: list[Columns]) -> None:
        if self._send_at_episode_end:
            self._drain()
            self._outbox.try_send()

    def _drain(self) -> None:
        """Move every complete transition from the log to the outbox."""
        log = self._log
        ends = log.column(TERMINATED) | log.column(TRUNCATED)
        totals, steps, complete = n_step_windows(log.column(REWARD), ends, log.lengths, self.n, self.gamma)
        if self.n == 1:
            # A cut marks the newest step: sent without the mark it would be joined to the next episode.
            # Longer windows leave steps behind that a cut can mark.
            newest = np.arange(log.num_steps) == log.lengths[:, None] - 1
            complete &= ends | ~newest
        streams, starts = np.nonzero(complete)
        if len(streams):
            lasts = starts + steps[streams, starts] - 1
            rows: Columns = {}
            for name, column in log.columns.items():
                of_last = name.startswith("next_") or name in (TERMINATED, TRUNCATED)
                rows[name] = column[streams, lasts if of_last else starts]
            rows[REWARD] = totals[streams, starts].astype(log.column(REWARD).dtype)
            bootstrap = self.gamma ** steps[streams, starts].astype(np.float64)
            rows[DISCOUNT] = np.where(rows[TERMINATED], 0.0, bootstrap).astype(np.float32)
            self._outbox.put(rows)
            # Complete windows are a prefix of each stream: a later start never completes earlier.
            log.drop_first(complete.sum(axis=1))
