"""`memories status`: one picture of a running cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ..dashboard.figures import UNLIMITED_BYTES
from .output import duration_text, share_text, size_text, write_json, write_table
from .target import Target, cluster_options, json_option

if TYPE_CHECKING:
    from ..actors.status import NodeStatus, Snapshot, TierStatus


@click.command()
@json_option
@cluster_options
def status(target: Target, as_json: bool) -> None:
    """Show nodes, tiers, replay buffers and networks of a cluster, and what is not as it should be.

    \b
    Examples:
      memories status
      memories status --address ray://head:10001
      memories status --json | jq '.tiers[] | {node, tier, used_bytes}'

    `memories doctor --cluster` judges the same picture, and exits with 1 where something is broken.
    """
    with target.cluster() as cluster:
        snapshot = cluster.status(timeout_s=target.timeout_s)
    if as_json:
        write_json(snapshot.as_dict())
    else:
        _write(snapshot)


def _write(snapshot: Snapshot) -> None:
    up = duration_text(time.time() - snapshot.started_s) if snapshot.started_s else "?"
    click.echo(
        f"cluster {snapshot.cluster!r}: {snapshot.phase}, {snapshot.keys:,} keys; Memories "
        f"{snapshot.version}, epoch {snapshot.epoch}, coordinator up {up}"
    )
    write_table(
        "nodes",
        ("name", "state", ">hot and warm", ">RAM used", ">object store", ">disk free", ">heard", "id"),
        [_node_row(node) for node in snapshot.nodes],
    )
    names = {node.node: node.name for node in snapshot.nodes}
    write_table(
        "tiers",
        ("tier", "node", ">keys", ">used", ">budget", ">full", ">reads", ">writes"),
        [
            (
                tier.tier,
                names.get(tier.node, tier.node[:12]),
                f"{tier.keys:,}",
                size_text(tier.used_bytes),
                *_budget(tier),
                f"{tier.reads:,}",
                f"{tier.writes:,}",
            )
            for tier in sorted(snapshot.tiers, key=lambda t: (names.get(t.node, ""), t.member))
        ],
    )
    if snapshot.replay:
        write_table(
            "replay buffers",
            ("name", "kind", ">rows", ">capacity", ">in /s", ">out /s", ">shards"),
            [
                (
                    buffer.name,
                    buffer.kind,
                    f"{buffer.rows:,}",
                    f"{buffer.capacity:,}",
                    f"{buffer.inserts_per_s:,.0f}",
                    f"{buffer.samples_per_s:,.0f}",
                    str(len(buffer.shards)),
                )
                for buffer in snapshot.replay
            ],
        )
    if snapshot.memoria:
        write_table(
            "Memoria networks",
            ("name", "device", ">sessions"),
            [(network.name, network.device, str(len(network.sessions))) for network in snapshot.memoria],
        )
    for advice in snapshot.advice:
        colour = "red" if advice.level == "error" else "yellow"
        click.echo(f"{click.style(advice.level + ':', fg=colour)} {advice.what}")
        click.echo(f"  → {advice.do}")
    if not snapshot.advice:
        click.echo("nothing is wrong")


def _node_row(node: NodeStatus) -> tuple[str, ...]:
    return (
        node.name + (" (head)" if node.head else ""),
        "online" if node.online else "down",
        f"{size_text(node.used_bytes)} of {size_text(node.capacity_bytes)}",
        _of(node.memory_used_bytes, node.memory_total_bytes),
        _of(node.object_store_used_bytes, node.object_store_bytes),
        size_text(node.disk_free_bytes) if node.disk_total_bytes else "?",
        f"{node.heartbeat_age_s:.1f} s ago",
        node.node[:12],
    )


def _budget(tier: TierStatus) -> tuple[str, str]:
    """What a tier may hold, and how full it is."""
    if tier.capacity_bytes >= UNLIMITED_BYTES:
        return "no limit", ""
    return size_text(tier.capacity_bytes), share_text(tier.used_bytes, tier.capacity_bytes)


def _of(used: int, total: int) -> str:
    return f"{size_text(used)} of {size_text(total)}" if total else "?"
