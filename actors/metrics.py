"""`MetricsExport`: hands the figures of the cluster to Ray, whose Prometheus endpoints show them.

Ray puts ``ray_`` before every name. It exports every 10 s, so this looks no more often; a look costs what
one status costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ray.util.metrics import Counter, Gauge

from .heartbeat import Heartbeat
from .metric_samples import SPECS, Sample, samples_of
from .status import Snapshot

ROUND_S = 10.0

Labels = tuple[str, ...]


class MetricsExport:
    """Belongs to the coordinator's event loop; not thread-safe."""

    def __init__(self, cluster: str, look: Callable[[], Awaitable[Snapshot]]) -> None:
        self.heartbeat = Heartbeat("metrics")
        self._cluster = cluster
        self._look = look
        self._specs = {spec.name: spec for spec in SPECS}
        self._metrics: dict[str, Any] = {}
        self._gauges: set[tuple[str, Labels]] = set()
        self._counted: dict[tuple[str, Labels], float] = {}

    async def run_forever(self) -> None:
        """One round after the other."""
        while True:
            with self.heartbeat.beat():
                self.export(await self._look())
            await asyncio.sleep(self.heartbeat.pause_s(ROUND_S))

    def export(self, snapshot: Snapshot) -> None:
        """Record every figure of a snapshot. A gauge whose labels are gone goes to 0: else Ray would
        show its last value for as long as this process lives."""
        gauges: set[tuple[str, Labels]] = set()
        for sample in samples_of(snapshot):
            series = (sample.name, sample.labels)
            if self._specs[sample.name].kind == "gauge":
                gauges.add(series)
                self._metric(sample.name).set(float(sample.value), self._tags(*series))
            else:
                self._count(sample)
        for series in self._gauges - gauges:
            self._metric(series[0]).set(0.0, self._tags(*series))
        self._gauges = gauges

    def _count(self, sample: Sample) -> None:
        """A total as a growth. One that has become smaller begins anew: its actor has restarted."""
        series = (sample.name, sample.labels)
        before = self._counted.get(series, 0.0)
        growth = sample.value - before if sample.value >= before else sample.value
        self._counted[series] = sample.value
        if growth > 0:
            self._metric(sample.name).inc(float(growth), self._tags(*series))

    def _tags(self, name: str, labels: Labels) -> dict[str, str]:
        return dict(zip(self._specs[name].labels, labels, strict=True), cluster=self._cluster)

    def _metric(self, name: str) -> Any:
        if name not in self._metrics:
            spec = self._specs[name]
            make = Gauge if spec.kind == "gauge" else Counter
            self._metrics[name] = make(name, spec.about, tag_keys=("cluster", *spec.labels))
        return self._metrics[name]
