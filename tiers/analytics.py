"""`Analytics`: usage, hit rate, operations and flows over time, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidType, InvalidValue, MissingDependency
from .series import Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIERS = ("hot", "warm", "cold", "glacier")

_COUNTERS = ("hits", "misses", "stores", "deletes", "evictions", "bytes_in", "bytes_out")
_COLOURS = {"hot": "r-", "warm": "g-", "cold": "b-", "glacier": "c-"}


class AnalyticsReport(dict[str, Any]):
    """Time series by name, as arrays of one length.

    ``timestamps`` are seconds since the first sample. ``hot_usage``, ``warm_usage``, ... are percent, and
    ``hot_usage_peak``, ... the highest in each interval. ``hit_rate`` is percent of the reads in each
    interval: that of the interval before where nothing was read, 0 before the first read. ``hits``,
    ``misses``, ``stores``, ``deletes``, ``evictions``, ``operations``, ``moves``, ``bytes_in``,
    ``bytes_out`` and ``bytes_moved`` are counts of each interval.

    Besides them ``flows``: by source and destination tier, how many ``moves`` of how many ``bytes``.
    """

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Usage and hit rate over time, side by side; written to `path` where one is given.

        Raises `MissingDependency` without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependency('drawing needs matplotlib: pip install "memories[plot]"') from error
        figure = Figure(figsize=(12, 6), layout="tight")
        usage, rate = figure.subplots(1, 2)
        for tier, style in _COLOURS.items():
            # The seed's three tiers always; glacier, which is optional, where it is used.
            if tier != "glacier" or self[f"{tier}_usage"].any():
                usage.plot(self["timestamps"], self[f"{tier}_usage"], style, label=tier.capitalize())
        usage.set(xlabel="Time (s)", ylabel="Usage (%)", title="Memory Usage Over Time")
        usage.set_ylim(bottom=0)
        usage.legend()
        rate.plot(self["timestamps"], self["hit_rate"], "k-")
        rate.set(xlabel="Time (s)", ylabel="Hit Rate (%)", title="Cache Hit Rate", ylim=(-2, 102))
        if path is not None:
            figure.savefig(path)
        return figure


class Analytics:
    """Samples of tier metrics, and the moves between tiers, over all of the time that it has seen.

    At most `max_points` points are kept: when they are full, neighbours are joined, so the resolution
    halves and the memory does not grow. Sums stay exact, percentages are means (with their peaks).
    Takes no samples by itself: whoever has the tiers calls `observe`. Thread-safe.
    """

    def __init__(
        self,
        *,
        tiers: Sequence[str] = TIERS,
        max_points: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(max_points) is not int or max_points < 2:
            raise InvalidValue(f"max_points must be a whole number above 1, not {max_points!r:.60}")
        if isinstance(tiers, str) or not all(isinstance(tier, str) for tier in tiers):
            raise InvalidType(f"tiers must be several names, not {tiers!r:.60}")
        self._tiers = tuple(dict.fromkeys((*TIERS, *tiers)))
        self._clock = clock
        self._start_s: float | None = None
        self._last: dict[str, dict[str, int]] = {}
        self._moved_bytes = 0
        self._moves = 0
        self._flows: dict[tuple[str, str], tuple[int, int]] = {}
        self._series = Series(
            means=[f"{tier}_usage" for tier in self._tiers],
            sums=[*_COUNTERS, "bytes_moved", "moves"],
            max_points=max_points,
        )
        self._lock = threading.Lock()

    def observe(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """Take a sample: by tier, what its `get_metrics` says. Tiers that are not in it count as empty,
        names that are no tier's (totals) are left alone; counters that fell (a tier that was opened anew)
        count from zero."""
        with self._lock:
            now_s = self._clock()
            if self._start_s is None:
                self._start_s = now_s
            means = [float(metrics.get(tier, {}).get("usage_percent", 0.0)) for tier in self._tiers]
            sums = dict.fromkeys(_COUNTERS, 0)
            for tier in self._tiers:
                if tier in metrics:
                    for name, amount in self._grown(tier, metrics[tier]).items():
                        sums[name] += amount
            self._series.add(now_s - self._start_s, means, [*sums.values(), self._moved_bytes, self._moves])
            self._moved_bytes = self._moves = 0

    def moved(self, source: str, destination: str, nbytes: int) -> None:
        """Note that a value went from one tier to another."""
        with self._lock:
            moves, moved_bytes = self._flows.get((source, destination), (0, 0))
            self._flows[source, destination] = (moves + 1, moved_bytes + nbytes)
            self._moved_bytes += nbytes
            self._moves += 1

    def report(self) -> AnalyticsReport:
        """Everything so far."""
        with self._lock:
            report = AnalyticsReport(self._series.columns())
            flows = {
                f"{source} -> {destination}": {"moves": moves, "bytes": nbytes}
                for (source, destination), (moves, nbytes) in self._flows.items()
            }
        report["operations"] = report["hits"] + report["misses"] + report["stores"] + report["deletes"]
        report["hit_rate"] = _hit_rate(report["hits"], report["misses"])
        report["flows"] = flows
        return report

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """See `AnalyticsReport.plot`."""
        return self.report().plot(path)

    def _grown(self, tier: str, metrics: Mapping[str, Any]) -> dict[str, int]:
        """By how much each counter of a tier has grown since the last sample."""
        counts = {name: int(metrics.get(name, 0)) for name in _COUNTERS}
        before = self._last.get(tier)
        self._last[tier] = counts
        if before is None or any(counts[name] < before[name] for name in _COUNTERS):
            return counts
        return {name: counts[name] - before[name] for name in _COUNTERS}


def _hit_rate(hits: Any, misses: Any) -> Any:
    """Percent of reads that found their value, in each interval; where nothing was read, as before."""
    import numpy as np

    reads = hits + misses
    rate = np.divide(100.0 * hits, reads, out=np.zeros(len(reads)), where=reads > 0)
    last_read = np.maximum.accumulate(np.where(reads > 0, np.arange(len(reads)), 0))
    return rate[last_read]
