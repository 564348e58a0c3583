"""Learning from measured times whether helper threads pay."""

from __future__ import annotations

_WEIGHT = 0.2  # of the newest time in the running mean
_OUTLIER = 3.0  # a time counts for at most this multiple of the mean: one lost time slice is no trend
_PROBE_EVERY = 32  # the way that is slower at present gets another try this often
_FIRST_TRIES = 3  # of each way, before they are compared


class Pace:
    """Running means of seconds per byte, alone and with help. Not thread-safe, and tells no time itself."""

    def __init__(self) -> None:
        self._mean: dict[bool, float] = {}
        self._tries = {False: 0, True: 0}
        self._calls = 0

    def wants_help(self) -> bool:
        """Whether the next copy should be shared: the faster way, and the other one now and then."""
        self._calls += 1
        for way in (True, False):
            if self._tries[way] < _FIRST_TRIES:
                return way
        faster = self._mean[True] <= self._mean[False]
        return faster if self._calls % _PROBE_EVERY else not faster

    def record(self, helped: bool, nbytes: int, seconds: float) -> None:
        """A copy of ``nbytes`` took ``seconds``."""
        self._tries[helped] += 1
        rate = seconds / nbytes
        mean = self._mean.setdefault(helped, rate)
        self._mean[helped] = mean + _WEIGHT * (min(rate, _OUTLIER * mean) - mean)
