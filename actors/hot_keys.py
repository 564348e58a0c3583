"""`HotKeys`: which keys are read most, from a few looks at each request."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence

MOST_KEYS = 2048
LOOKS = 16
"""Keys of one request that are counted, each for its share of them: the cost does not grow with it."""
HALF_LIFE_S = 60.0
FADE_EVERY_S = 10.0


class HotKeys:
    """Counts of reads that fade: half of what was counted is forgotten every minute.

    Bounded: when too many keys are known, the rarer half goes. Not thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, float] = {}
        self._faded_s = clock()

    def read(self, keys: Sequence[str]) -> None:
        """Note that these keys were read in one request."""
        if self._clock() - self._faded_s > FADE_EVERY_S:
            self._fade()
        step = -(-len(keys) // LOOKS) or 1
        counts = self._counts
        for key in keys[::step]:
            counts[key] = counts.get(key, 0.0) + step
        if len(counts) > MOST_KEYS:
            self._counts = dict(self._top(MOST_KEYS // 2))

    def hottest(self, number: int) -> list[tuple[str, int]]:
        """The keys that were read most lately, with how often."""
        self._fade()
        return [(key, round(count)) for key, count in self._top(number) if count >= 1]

    def _top(self, number: int) -> list[tuple[str, float]]:
        return heapq.nlargest(number, self._counts.items(), key=lambda item: item[1])

    def _fade(self) -> None:
        now_s = self._clock()
        share = 0.5 ** ((now_s - self._faded_s) / HALF_LIFE_S)
        self._faded_s = now_s
        self._counts = {key: count * share for key, count in self._counts.items() if count * share > 0.1}
