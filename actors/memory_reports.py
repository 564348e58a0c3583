"""`MemoryReports`: the figures of a memory: usage, metrics, and their course over time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..tiers.analytics import Analytics, AnalyticsReport
from .client import MemoryClient
from .core.model import TIER_ORDER
from .heartbeat import Heartbeat

if TYPE_CHECKING:
    from .cluster import Cluster

OWN_READS = "warm"
"""The tier under which this manager's own counters are filed; only their sums are shown."""


class MemoryReports:
    """Reads the cluster's status for one manager; a recording runs in one thread until it is stopped."""

    def __init__(self, cluster: Cluster, client: MemoryClient) -> None:
        self._cluster = cluster
        self._client = client
        self._analytics: Analytics | None = None
        self._heartbeat = Heartbeat("analytics")
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def usage_percent(self) -> dict[str, float]:
        """Percent of each tier's budget in use; 0.0 where nobody carries the tier."""
        totals = self._cluster.status().tier_totals()
        return {
            tier: 100.0 * used / capacity if capacity else 0.0
            for tier in TIER_ORDER
            for used, capacity in [totals.get(tier, (0, 0))]
        }

    def metrics(self) -> dict[str, Any]:
        """By tier: used and capacity bytes, percent, keys; beside them this manager's own counts."""
        snapshot = self._cluster.status()
        report: dict[str, Any] = {}
        for tier, (used, capacity) in snapshot.tier_totals().items():
            report[tier] = {
                "used_bytes": used,
                "capacity_bytes": capacity,
                "usage_percent": 100.0 * used / capacity if capacity else 0.0,
                "keys": sum(t.keys for t in snapshot.tiers if t.tier == tier),
            }
        report["keys"] = snapshot.keys
        report["client"] = self._client.counters.snapshot()
        return report

    def start_recording(self, interval_s: float) -> None:
        """Begin to take samples; again is fine and changes nothing."""
        if self._thread is not None:
            return
        self._analytics = Analytics()
        self._sample()
        self._thread = threading.Thread(
            target=self._record, args=(interval_s,), name="memories-analytics", daemon=True
        )
        self._thread.start()

    def recorded(self) -> AnalyticsReport:
        """What was recorded, up to now; empty series where recording was never started."""
        if self._analytics is None:
            return Analytics().report()
        self._sample()
        return self._analytics.report()

    def stop_recording(self) -> None:
        """End the thread. Twice is fine."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _record(self, interval_s: float) -> None:
        while not self._stopped.wait(self._heartbeat.pause_s(interval_s)):
            with self._heartbeat.beat():
                self._sample()

    def _sample(self) -> None:
        assert self._analytics is not None
        metrics: dict[str, dict[str, Any]] = {
            tier: {"usage_percent": percent} for tier, percent in self.usage_percent().items()
        }
        metrics[OWN_READS] |= self._client.counters.snapshot()
        self._analytics.observe(metrics)
