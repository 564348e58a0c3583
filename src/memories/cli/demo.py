"""`memories demo`."""

from __future__ import annotations

import click


@click.command()
@click.option("--seed", default=0, show_default=True, help="The same seed shows the same run.")
def demo(seed: int) -> None:
    """Show everything at work, in one run.

    \b
    Example:
      memories demo --seed 7
    """
    from ..demo import run

    run(seed=seed)
