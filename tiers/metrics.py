"""`Counters`: what a tier has done since it was opened."""

from __future__ import annotations

import threading
from typing import Any


class Counters:
    """Operation and byte counts of one tier. Thread-safe; they only grow."""

    NAMES = ("hits", "misses", "stores", "deletes", "evictions", "expirations", "bytes_in", "bytes_out")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(self.NAMES, 0)

    def add(self, **amounts: int) -> None:
        """Add to several counters at once."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount

    def snapshot(self) -> dict[str, int]:
        """All counts, from one moment."""
        with self._lock:
            return dict(self._counts)


def usage_percent(used_bytes: int, capacity_bytes: int | None) -> float:
    """How full, in percent of the budget; 0.0 where there is none."""
    return 100.0 * used_bytes / capacity_bytes if capacity_bytes else 0.0


def tier_metrics(
    counters: Counters, *, used_bytes: int, capacity_bytes: int | None, entries: int
) -> dict[str, Any]:
    """The metrics that every tier reports, in the names that the seeds and the dashboard use."""
    counts = counters.snapshot()
    reads = counts["hits"] + counts["misses"]
    return {
        "usage_percent": usage_percent(used_bytes, capacity_bytes),
        "used_bytes": used_bytes,
        "capacity_bytes": capacity_bytes,
        "entries": entries,
        "hit_rate": counts["hits"] / reads if reads else 0.0,
        **counts,
    }
