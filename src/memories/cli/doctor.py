"""`memories doctor`: what the machine, and a running cluster, are fit for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from .group import FAILED
from .target import Target, cluster_options, json_option

if TYPE_CHECKING:
    from ..doctor import Finding

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


@click.command()
@click.option("--cluster", "of_cluster", is_flag=True, help="Examine a running cluster, not this machine.")
@json_option
@cluster_options
def doctor(target: Target, of_cluster: bool, as_json: bool) -> None:
    """Check whether this machine is fit to run Memories, or with --cluster how a running cluster is.

    \b
    Examples:
      memories doctor
      memories doctor --json | jq '.[] | select(.state != "ok")'
      memories doctor --cluster --address ray://head:10001

    Of a cluster: nodes, background loops, processes that Ray's memory monitor has ended, disks, object
    stores, whether strangers are refused, and what the coordinator finds wrong.

    Exit code 1 when something is broken; warnings alone leave it at 0.
    """
    if not of_cluster:
        from ..doctor import examine

        _report(examine(), as_json)
        return
    from ..cluster_doctor import examine_cluster

    with target.cluster() as cluster:
        _report(examine_cluster(cluster, timeout_s=target.timeout_s), as_json)


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
