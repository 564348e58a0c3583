"""`memories replay stats`: the replay buffers of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .group import NOT_FOUND, fail
from .output import duration_text, share_text, size_text, write_json, write_table
from .target import Target, cluster_options, json_option

if TYPE_CHECKING:
    from ..actors.status import ReplayStatus


@click.group()
def replay() -> None:
    """Look at the replay buffers of a cluster.

    \b
    Examples:
      memories replay stats
      memories replay stats pong --json
    """


@replay.command()
@click.argument("buffers", nargs=-1)
@json_option
@cluster_options
def stats(target: Target, buffers: tuple[str, ...], as_json: bool) -> None:
    """Show rows, rates and shards of BUFFERS; of all without a name.

    \b
    Examples:
      memories replay stats
      memories replay stats pong
      memories replay stats --json | jq '.[] | {name, samples_per_insert}'

    Exit code 4 where there is no buffer of that name.
    """
    with target.cluster() as cluster:
        snapshot = cluster.status(timeout_s=target.timeout_s)
    found = {buffer.name: buffer for buffer in snapshot.replay}
    absent = [name for name in buffers if name not in found]
    if absent:
        have = ", ".join(found) or "none"
        fail(f"no replay buffer {', '.join(map(repr, absent))}; the cluster has: {have}", NOT_FOUND)
    chosen = [found[name] for name in dict.fromkeys(buffers)] or list(found.values())
    if as_json:
        plain = {buffer["name"]: buffer for buffer in snapshot.as_dict()["replay"]}
        write_json([plain[b.name] | {"samples_per_insert": b.samples_per_insert} for b in chosen])
        return
    if not chosen:
        click.echo("no replay buffers; `cluster.replay(name, schema=...)` makes one")
    names = {node.node: node.name for node in snapshot.nodes}
    for buffer in chosen:
        _write(buffer, names)


def _write(buffer: ReplayStatus, names: dict[str, str]) -> None:
    facts = {
        "rows": f"{buffer.rows:,} of {buffer.capacity:,} ({share_text(buffer.rows, buffer.capacity)})",
        "bytes": size_text(buffer.nbytes)
        + (f" of {size_text(buffer.capacity_bytes)}" if buffer.capacity_bytes else ""),
        "inserted": f"{buffer.inserted:,} ({buffer.inserts_per_s:,.0f} /s), {buffer.repeated:,} repeated",
        "sampled": f"{buffer.sampled:,} ({buffer.samples_per_s:,.0f} /s)",
        "samples per insert": f"{buffer.samples_per_insert:.3g}",
        "priorities": f"{buffer.updated:,} updated, {buffer.stale_updates:,} stale",
        "waiting": f"{buffer.waiting_writers} writers, {buffer.waiting_samplers} samplers",
        "limiter": buffer.limiter or "none",
        "heard": f"{duration_text(buffer.age_s)} ago",
    }
    click.echo(f"replay buffer {buffer.name!r}, {buffer.kind}")
    for name, fact in facts.items():
        click.echo(f"  {name + ':':<20} {fact}")
    write_table(
        "",
        (">shard", "node", "backup", ">view", "state", ">rows", ">size", ">lag"),
        [
            (
                str(shard.shard),
                names.get(shard.node, shard.node[:12]),
                names.get(shard.backup_node, shard.backup_node[:12]) or "none",
                str(shard.view),
                "alone" if shard.solo else "in sync" if shard.in_sync else "catching up",
                f"{shard.rows:,}",
                size_text(shard.nbytes),
                f"{shard.lag_rows:,}",
            )
            for shard in buffer.shards
        ],
    )
