"""Learning from measured times whether helper threads pay."""

from __future__ import annotations

from collections import deque
from statistics import median

_REMEMBERED = 5  # times of each way; their median is no matter of one lost time slice or a cold start
_PROBE_EVERY = 16  # the way that is slower at present gets another try this often


class Pace:
    """The last seconds per byte, alone and with help. Not thread-safe, and tells no time itself."""

    def __init__(self) -> None:
        self._rates = {way: deque[float](maxlen=_REMEMBERED) for way in (True, False)}
        self._calls = 0

    def wants_help(self) -> bool:
        """Whether the next copy should be shared: the faster way, and the other one now and then."""
        self._calls += 1
        for way in (True, False):
            if len(self._rates[way]) < _REMEMBERED:
                return way
        faster = median(self._rates[True]) <= median(self._rates[False])
        return faster if self._calls % _PROBE_EVERY else not faster

    def record(self, helped: bool, nbytes: int, seconds: float) -> None:
        """A copy of ``nbytes`` took ``seconds``."""
        self._rates[helped].append(seconds / nbytes)
