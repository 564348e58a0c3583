"""`BlockPace`: how many batches to ask for at once, from how long the learner waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable

WAITS_SHARE = 0.1
"""A learner that waits a larger part of its time gets larger blocks; for a tenth of this, smaller ones."""
CALM_BLOCKS = 4
"""So many blocks without waiting come before a smaller one: growing is quick, shrinking is not."""


class BlockPace:
    """`batches` is what the next block should have. Not thread-safe."""

    def __init__(
        self, first: int, most: int, follows: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.batches = first
        self._most = most
        self._follows = follows
        self._clock = clock
        self._waits_since_s = 0.0
        self._ended_s: float | None = None
        self._calm = 0

    def begin_waiting(self) -> None:
        """The learner needs the next block now."""
        self._waits_since_s = self._clock()

    def end_waiting(self) -> None:
        """It has it."""
        now_s = self._clock()
        if self._follows and self._ended_s is not None:
            self._judge((now_s - self._waits_since_s) / max(now_s - self._ended_s, 1e-9))
        self._ended_s = now_s

    def _judge(self, share: float) -> None:
        if share > WAITS_SHARE:
            self._calm = 0
            self.batches = min(2 * self.batches, self._most)
        elif share < WAITS_SHARE / 10:
            self._calm += 1
            if self._calm >= CALM_BLOCKS:
                self._calm = 0
                self.batches = max(1, self.batches // 2)
