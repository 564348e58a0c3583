"""What a cluster's metrics are, and their values in a snapshot. Pure; `metrics` hands them to Ray.

docs/metrics.md explains each of them to those who draw graphs and write alerts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .status import Snapshot


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: a gauge goes up and down, a counter only up, from 0 at the coordinator's start."""

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    labels: tuple[str, ...] = ()
    """Beside `cluster`, which every metric has."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a metric for some labels, in the order of its spec."""

    name: str
    labels: tuple[str, ...]
    value: float


def _gauge(name: str, about: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, "gauge", about, labels)


def _counter(name: str, about: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, "counter", about, labels)


SPECS = (
    _gauge("memories_keys", "Keys that are stored."),
    _gauge("memories_starving_keys", "Keys that want another copy, for which there is no place."),
    _gauge("memories_copying_keys", "Keys that are being copied or moved."),
    _gauge("memories_serving", "1 while the coordinator answers, 0 while it rebuilds its catalog."),
    _gauge("memories_epoch", "Number of the coordinator's reign: it rises at every restart."),
    _gauge("memories_findings", "What is not as it should be, by level (warning, error).", "level"),
    _gauge("memories_tier_keys", "Keys in a tier of a node.", "tier", "node"),
    _gauge("memories_tier_used_bytes", "Bytes in use in a tier of a node.", "tier", "node"),
    _gauge("memories_tier_capacity_bytes", "Budget of a tier of a node.", "tier", "node"),
    _counter("memories_tier_reads_total", "Keys that a tier of a node has read.", "tier", "node"),
    _counter("memories_tier_writes_total", "Keys that a tier of a node has written.", "tier", "node"),
    _counter("memories_reads_total", "Keys looked up for reading, by the tier of the nearest copy.", "tier"),
    _counter("memories_read_misses_total", "Keys looked up for reading that are not stored."),
    _counter("memories_moved_keys_total", "Keys copied or moved between tiers.", "source", "target", "what"),
    _counter(
        "memories_moved_bytes_total", "Bytes copied or moved between tiers.", "source", "target", "what"
    ),
    _counter("memories_events_total", "Events by kind: repaired, lost, expired and others.", "what"),
    _gauge("memories_node_online", "1 for a node that answers, 0 for one that is gone.", "node"),
    _gauge("memories_node_heard_seconds", "Seconds since a tier of the node has answered.", "node"),
    _gauge("memories_node_memory_used_bytes", "Memory of the machine in use.", "node"),
    _gauge("memories_node_memory_bytes", "Memory of the machine.", "node"),
    _gauge("memories_node_object_store_used_bytes", "Object store of the node in use.", "node"),
    _gauge("memories_node_object_store_bytes", "Object store of the node.", "node"),
    _gauge("memories_node_disk_free_bytes", "Free bytes on the disk of the cold tier.", "node"),
    _counter("memories_loop_rounds_total", "Rounds of the coordinator's background loops.", "loop"),
    _counter("memories_loop_failures_total", "Rounds that failed.", "loop"),
    _gauge("memories_replay_rows", "Rows in a replay buffer.", "buffer"),
    _gauge("memories_replay_capacity_rows", "Rows that a replay buffer may hold.", "buffer"),
    _gauge("memories_replay_used_bytes", "Bytes in use by a replay buffer.", "buffer"),
    _counter("memories_replay_inserted_rows_total", "Rows inserted into a replay buffer.", "buffer"),
    _counter("memories_replay_sampled_rows_total", "Rows drawn from a replay buffer.", "buffer"),
    _counter("memories_replay_updated_rows_total", "Priorities updated.", "buffer"),
    _counter("memories_replay_stale_updates_total", "Updates of rows that were overwritten.", "buffer"),
    _gauge("memories_replay_unsafe_shards", "Shards without a backup that is in sync.", "buffer"),
    _gauge("memories_memoria_sessions", "Sessions of a Memoria network.", "network"),
)


def samples_of(snapshot: Snapshot) -> Iterator[Sample]:
    """Every value that the snapshot has, one a metric and set of labels."""
    yield from _cluster(snapshot)
    yield from _tiers(snapshot)
    yield from _nodes(snapshot)
    yield from _replay(snapshot)
    for network in snapshot.memoria:
        yield Sample("memories_memoria_sessions", (network.name,), len(network.sessions))


def _cluster(snapshot: Snapshot) -> Iterator[Sample]:
    yield Sample("memories_keys", (), snapshot.keys)
    yield Sample("memories_starving_keys", (), snapshot.starving)
    yield Sample("memories_copying_keys", (), snapshot.copying)
    yield Sample("memories_serving", (), snapshot.phase == "serving")
    yield Sample("memories_epoch", (), snapshot.epoch)
    for level in ("warning", "error"):
        found = sum(advice.level == level for advice in snapshot.advice)
        yield Sample("memories_findings", (level,), found)
    for what, count in snapshot.counts.items():
        yield Sample("memories_events_total", (what,), count)
    for loop in snapshot.loops:
        yield Sample("memories_loop_rounds_total", (loop.name,), loop.rounds)
        yield Sample("memories_loop_failures_total", (loop.name,), loop.failures)


def _tiers(snapshot: Snapshot) -> Iterator[Sample]:
    names = {node.node: node.name for node in snapshot.nodes}
    totals: dict[tuple[str, str], list[int]] = {}
    for tier in snapshot.tiers:  # hot tiers are one for each GPU
        total = totals.setdefault((tier.tier, names.get(tier.node, tier.node)), [0] * 5)
        figures = (tier.keys, tier.used_bytes, tier.capacity_bytes, tier.reads, tier.writes)
        total[:] = [a + b for a, b in zip(total, figures, strict=True)]
    for labels, (keys, used, capacity, reads, writes) in totals.items():
        yield Sample("memories_tier_keys", labels, keys)
        yield Sample("memories_tier_used_bytes", labels, used)
        yield Sample("memories_tier_capacity_bytes", labels, capacity)
        yield Sample("memories_tier_reads_total", labels, reads)
        yield Sample("memories_tier_writes_total", labels, writes)
    for tier_name, count in snapshot.reads.found.items():
        yield Sample("memories_reads_total", (tier_name,), count)
    yield Sample("memories_read_misses_total", (), snapshot.reads.missed)
    for flow in snapshot.flows:
        route = (flow.source, flow.target, flow.what)
        yield Sample("memories_moved_keys_total", route, flow.keys)
        yield Sample("memories_moved_bytes_total", route, flow.nbytes)


def _nodes(snapshot: Snapshot) -> Iterator[Sample]:
    for node in snapshot.nodes:
        label = (node.name,)
        yield Sample("memories_node_online", label, node.online)
        if node.online:
            yield Sample("memories_node_heard_seconds", label, node.heartbeat_age_s)
            yield Sample("memories_node_memory_used_bytes", label, node.memory_used_bytes)
            yield Sample("memories_node_memory_bytes", label, node.memory_total_bytes)
            yield Sample("memories_node_object_store_used_bytes", label, node.object_store_used_bytes)
            yield Sample("memories_node_object_store_bytes", label, node.object_store_bytes)
            yield Sample("memories_node_disk_free_bytes", label, node.disk_free_bytes)


def _replay(snapshot: Snapshot) -> Iterator[Sample]:
    for buffer in snapshot.replay:
        label = (buffer.name,)
        unsafe = sum(shard.solo or not shard.in_sync for shard in buffer.shards)
        yield Sample("memories_replay_rows", label, buffer.rows)
        yield Sample("memories_replay_capacity_rows", label, buffer.capacity)
        yield Sample("memories_replay_used_bytes", label, buffer.nbytes)
        yield Sample("memories_replay_inserted_rows_total", label, buffer.inserted)
        yield Sample("memories_replay_sampled_rows_total", label, buffer.sampled)
        yield Sample("memories_replay_updated_rows_total", label, buffer.updated)
        yield Sample("memories_replay_stale_updates_total", label, buffer.stale_updates)
        yield Sample("memories_replay_unsafe_shards", label, unsafe)
