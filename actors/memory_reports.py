"""`MemoryReports`: the figures of a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .client import MemoryClient
from .core.model import TIER_ORDER

if TYPE_CHECKING:
    from .cluster import Cluster


class MemoryReports:
    """Reads the cluster's status for one manager."""

    def __init__(self, cluster: Cluster, client: MemoryClient) -> None:
        self._cluster = cluster
        self._client = client

    def usage_percent(self) -> dict[str, float]:
        totals = self._cluster.status().tier_totals()
        return {
            tier: 100.0 * used / capacity if capacity else 0.0
            for tier in TIER_ORDER
            for used, capacity in [totals.get(tier, (0, 0))]
        }

    def metrics(self) -> dict[str, Any]:
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
