"""`memories declare-gone`: the end of waiting for a disk that will never return."""

from __future__ import annotations

import click

from .output import write_json
from .target import Target, cluster_options, confirm, json_option, yes_option
from .waiting import waiting


@click.command()
@click.argument("disk")
@yes_option
@json_option
@cluster_options
def declare_gone(target: Target, disk: str, yes: bool, as_json: bool) -> None:
    """Say that DISK, which is away, will never return, so that nobody waits for it any more.

    DISK is its id or the beginning of it; `memories status` names the disks that are missed.

    \b
    Examples:
      memories status --json | jq -r '.away[]'
      memories declare-gone disk-5f1c2a77
      memories declare-gone disk-5f1c2a77 --yes --json

    Keys whose only copies it had are lost: reading them says so. Should it return all the same, it is set
    aside. For a node that still answers, `Cluster.drain` moves everything off it instead.
    """
    with target.cluster() as cluster:
        confirm(f"Give up {disk!r} of cluster {target.name!r}, with what only it has?", yes)
        with waiting(f"giving up {disk!r}"):
            lost = cluster.declare_gone(disk, timeout_s=target.timeout_s)
    if as_json:
        write_json({"disk": disk, "lost_keys": lost})
    else:
        click.echo(f"nobody waits for {disk} any more; {lost:,} keys are lost with it")
