"""`Allowance`: so many bytes a second, so that background work leaves the rest to the foreground."""

from __future__ import annotations

import math
from collections.abc import Callable

BURST_S = 0.5
"""So many seconds' worth may be spent at once after a pause."""


class Allowance:
    """A token bucket that may go into debt: one large value is moved as a whole, and paid for afterwards.

    Pure: the clock is passed in. Not thread-safe.
    """

    def __init__(self, bytes_per_s: float, clock: Callable[[], float]) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._left = bytes_per_s * BURST_S
        self._filled_s = clock()

    def spend(self, nbytes: int) -> None:
        """So many bytes have been moved."""
        self._fill()
        self._left -= nbytes

    def wait_s(self) -> float:
        """How long to wait before the next move; 0 where none is needed."""
        if math.isinf(self.bytes_per_s):
            return 0.0
        self._fill()
        return max(0.0, -self._left / self.bytes_per_s)

    def _fill(self) -> None:
        now_s = self._clock()
        if not math.isinf(self.bytes_per_s):
            earned = (now_s - self._filled_s) * self.bytes_per_s
            self._left = min(self._left + earned, self.bytes_per_s * BURST_S)
        self._filled_s = now_s
