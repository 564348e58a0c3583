"""The Prometheus endpoint of Ray's agent shows our metrics, and they agree with `status()`."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.metric_samples import SPECS, samples_of
from memories.actors.metrics import MetricsExport
from memories.actors.status import Snapshot, TierStatus

from .conftest import wait_until

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^ray_(memories_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABELS = {spec.name: spec.labels for spec in SPECS}
Series = tuple[str, frozenset[tuple[str, str]]]


def shown(cluster: Cluster) -> dict[Series, float]:
    """What the endpoints of all nodes show of a cluster, without the labels that Ray adds."""
    found: dict[Series, float] = {}
    for node in (n for n in ray.nodes() if n["Alive"]):
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        for name, labels, value in LINE.findall(text):
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if pairs.get("cluster") == cluster.name:
                found[name, frozenset((k, pairs[k]) for k in LABELS[name])] = float(value)
    return found


def expected(snapshot: Snapshot) -> dict[Series, float]:
    return {
        (s.name, frozenset(zip(LABELS[s.name], s.labels, strict=True))): float(s.value)
        for s in samples_of(snapshot)
    }


@pytest.mark.timeout(180)
def test_prometheus_shows_what_the_status_says(cluster: Cluster) -> None:
    with cluster.memory() as memory:
        memory.store_many({f"m/{i}": np.full(3000, i) for i in range(30)}, tier="warm")
        memory.store("durable", np.ones(10), durable=True)
        memory.retrieve_many([f"m/{i}" for i in range(30)])

        def agree() -> bool:
            """All but what moves while it is looked at, and counters that are still 0."""
            ours, theirs = expected(cluster.status()), shown(cluster)
            moving = re.compile("loop_rounds|heard_seconds|memory_used|object_store|disk_free|writes_total")
            steady = {
                k: v
                for k, v in ours.items()
                if not moving.search(k[0]) and (v or not k[0].endswith("_total"))
            }
            different.clear()
            different.update(
                {key: (value, theirs.get(key)) for key, value in steady.items() if theirs.get(key) != value}
            )
            return not different

        different: dict[Series, tuple[float, float | None]] = {}
        try:
            wait_until(agree, 60)
        except AssertionError:
            pytest.fail(f"status and Prometheus differ: {different}")
        figures = shown(cluster)
        assert figures["memories_keys", frozenset()] == 31
        assert {name for name, _ in figures} >= {s.name for s in SPECS if "node" in s.labels}
        assert figures["memories_loop_rounds_total", frozenset({("loop", "metrics")})] > 0


def test_a_gauge_of_something_that_is_gone_goes_to_zero(cluster: Cluster) -> None:
    """An export in this process, whose metrics nobody has made before."""

    async def never() -> Snapshot:
        raise AssertionError

    export = MetricsExport("gone", never)
    tier = TierStatus("n/warm", "warm", "n", keys=5, used_bytes=7, capacity_bytes=9, durable=False)
    export.export(Snapshot("gone", 0.0, tiers=(tier,)))
    series = ("memories_tier_keys", ("warm", "n"))
    assert series in export._gauges
    set_to: list[float] = []
    export._metric(series[0]).set = lambda value, tags: set_to.append(value)
    export.export(Snapshot("gone", 1.0))
    assert set_to == [0.0]
    assert series not in export._gauges


def test_every_metric_is_documented_and_the_dashboard_file_uses_only_ours() -> None:
    document = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(memories_\w+)`", document, re.MULTILINE))
    assert named == {spec.name for spec in SPECS}
    board = json.loads((ROOT / "docs/grafana-memories.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    used = set(re.findall(r"ray_(memories_\w+)", " ".join(queries)))
    assert used <= named
    assert len(used) > len(named) / 2
    places = [tuple(panel["gridPos"][k] for k in "xy") for panel in board["panels"]]
    assert len(set(places)) == len(places)
