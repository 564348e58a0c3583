"""The command line. Exit codes: 0 fine, 1 the command found a problem, 2 it was called wrongly."""

from __future__ import annotations

import json
import sys

import click

from . import __version__
from .errors import MemoriesError

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


class _Commands(click.Group):
    """Shows an error of ours as one line; everything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemoriesError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memories")
def main() -> None:
    """Memory for learning systems on a Ray cluster."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def doctor(as_json: bool) -> None:
    """Check whether this machine is fit to run Memories.

    \b
    Examples:
      memories doctor
      memories doctor --json | jq '.[] | select(.state != "ok")'

    Exit code 1 when something is broken; warnings alone leave it at 0.
    """
    from .doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            mark, colour = MARKS[finding.state]
            click.echo(f"{click.style(mark, fg=colour)} {finding.name + ':':<15} {finding.fact}")
            if finding.advice:
                click.echo(f"  {'':<15} {click.style('→ ' + finding.advice, fg=colour)}")
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    if any(finding.state == "error" for finding in findings):
        sys.exit(1)


@main.command()
@click.option("--seed", default=0, show_default=True, help="The same seed shows the same run.")
def demo(seed: int) -> None:
    """Show everything at work, in one run.

    \b
    Example:
      memories demo --seed 7
    """
    from .demo import run

    run(seed=seed)


if __name__ == "__main__":
    main()
