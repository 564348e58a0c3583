"""Two sides that take turns: what both were, and how many times faster ours is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pairs:
    """Seconds of ours and of theirs, pair by pair; each pair was measured side by side."""

    ours_s: tuple[float, ...]
    theirs_s: tuple[float, ...]

    @property
    def times_faster(self) -> float:
        """The median of theirs / ours: above 1 ours is faster."""
        return statistics.median(self._ratios())

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest theirs / ours."""
        return min(self._ratios()), max(self._ratios())

    @property
    def share_of_time(self) -> float:
        """The median of ours / theirs: below 1 ours is faster."""
        return statistics.median(1 / ratio for ratio in self._ratios())

    @property
    def spread_of_share(self) -> tuple[float, float]:
        """The lowest and the highest ours / theirs."""
        return 1 / max(self._ratios()), 1 / min(self._ratios())

    @property
    def both(self) -> str:
        """The medians in words."""
        ours, theirs = statistics.median(self.ours_s), statistics.median(self.theirs_s)
        return f"{in_words(ours)} beside {in_words(theirs)}"

    def _ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.ours_s, self.theirs_s, strict=True)]


def seconds(work: Callable[[], Any]) -> float:
    """What the work took."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def take_turns(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Pairs:
    """Both in alternating order, after one round to warm up; each call returns the seconds that count."""
    pairs = []
    for number in range(rounds + 1):
        if number % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        if number:
            pairs.append((mine, other))
    return Pairs(tuple(mine for mine, _ in pairs), tuple(other for _, other in pairs))


def in_words(duration_s: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if duration_s * scale >= 1:
            return f"{duration_s * scale:.3g} {unit}"
    return f"{duration_s * 1e9:.3g} ns"
