"""`memories down`: the end of a cluster of ours; Ray goes on."""

from __future__ import annotations

import click

from .output import write_json
from .target import Target, cluster_options, confirm, json_option, yes_option
from .waiting import waiting


@click.command()
@click.option("--delete", is_flag=True, help="Remove what is on its disks as well. Cannot be undone.")
@yes_option
@json_option
@cluster_options
def down(target: Target, delete: bool, yes: bool, as_json: bool) -> None:
    """End a cluster for everybody who uses it. Ray itself goes on (`ray stop` or `ray down` end it).

    \b
    Examples:
      memories down
      memories down --name experiments --delete --yes

    What is durable is there again when the cluster is started the next time, unless --delete is given.
    """
    with target.cluster() as cluster:
        snapshot = cluster.status(timeout_s=target.timeout_s)
        lost = "all of its" if delete else "what is not durable of its"
        confirm(f"End cluster {target.name!r} and forget {lost} {snapshot.keys:,} keys?", yes)
        with waiting("ending its actors"):
            cluster.shutdown(delete=delete, timeout_s=target.timeout_s)
    if as_json:
        write_json({"cluster": target.name, "keys": snapshot.keys, "deleted": delete})
    else:
        click.echo(f"cluster {target.name!r} has ended" + (", and its data is deleted" if delete else ""))
