"""`memories doctor`: what the machine, and a running cluster, are fit for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from .group import FAILED

if TYPE_CHECKING:
    from ..doctor import Finding

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def doctor(as_json: bool) -> None:
    """Check whether this machine is fit to run Memories.

    \b
    Examples:
      memories doctor
      memories doctor --json | jq '.[] | select(.state != "ok")'

    Exit code 1 when something is broken; warnings alone leave it at 0.
    """
    from ..doctor import examine

    _report(examine(), as_json)


def _report(findings: Iterable[Finding], as_json: bool) -> None:
    seen = list(findings if as_json else _shown(findings))
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in seen], indent=2))
    if any(finding.state == "error" for finding in seen):
        sys.exit(FAILED)


def _shown(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Each finding, written as soon as it is there: some take a second."""
    for finding in findings:
        mark, colour = MARKS[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.name + ':':<15} {finding.fact}")
        if finding.advice:
            click.echo(f"  {'':<15} {click.style('→ ' + finding.advice, fg=colour)}")
        yield finding
