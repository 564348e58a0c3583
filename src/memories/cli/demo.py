"""`memories demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Of environments, first weights and data.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the report goes; memories-demo.html in this folder by default.",
)
@click.option("--keep", is_flag=True, help="Leave the cluster and its dashboard up, and print the address.")
@click.option("--json", "as_json", is_flag=True, help="Print what happened as JSON, and nothing else.")
def demo(seed: int, report: Path | None, keep: bool, as_json: bool) -> None:
    """Show everything at work, in one run of about two minutes.

    Rollout workers push experience, a learner trains from it, arrays sink through the tiers, a Memoria
    network remembers, a node is killed, and a snapshot brings everything back. Leaves nothing but the
    report behind.

    \b
    Examples:
      memories demo --seed 7
      memories demo --keep
      memories demo --report demo.html --json | jq '.took_s'
    """
    from rich.console import Console

    from ..demo import run

    record = run(seed=seed, report=report, keep=keep, console=Console(stderr=True) if as_json else None)
    if as_json:
        click.echo(record.as_json())
