"""Learning from measured times whether helper threads pay."""

from __future__ import annotations

from collections import deque
from statistics import median

_REMEMBERED = 5  # times of each way; their median is no matter of one lost time slice or a cold start
_PROBE_EVERY = 64  # copies; then the way that is slower at present gets another try
_PROBES = 4  # of them in a row: one alone would be measured with cold threads and caches


class Pace:
    """The last seconds per byte, alone and with help. Not thread-safe, and tells no time itself.

    A copy by helpers that slept is not counted: it measures how long they take to wake, which those that
    come right after it do not pay.
    """

    def __init__(self) -> None:
        self._rates = {way: deque[float](maxlen=_REMEMBERED) for way in (True, False)}
        self._calls = 0
        self._awake = False

    def wants_help(self) -> bool:
        """Whether the next copy should be shared: the faster way, and the other one now and then."""
        self._calls += 1
        for way in (True, False):
            if len(self._rates[way]) < _REMEMBERED:
                return way
        faster = median(self._rates[True]) <= median(self._rates[False])
        return faster if self._calls % _PROBE_EVERY >= _PROBES else not faster

    def record(self, helped: bool, nbytes: int, seconds: float) -> None:
        """A copy of ``nbytes`` took ``seconds``."""
        if self._awake or not helped:
            self._rates[helped].append(seconds / nbytes)
        self._awake = helped
