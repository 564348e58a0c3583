"""`memories demo`: everything at work in one run of about two minutes, on this machine, with a report.

All of it is real: two raylets, tier actors, replay shards with backups, an environment, a learner, a SIGKILL.
The same seed gives the same environments, first weights, arrays and segments; what depends on who is faster
(the rows that a batch finds, the round in which an array sinks) may differ from run to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .record import Record
from .report import check_place, write_report

__all__ = ["Record", "run"]


def run(
    *, seed: int = 0, report: Path | None = None, keep: bool = False, console: Console | None = None
) -> Record:
    """Show everything, and write the report. `AssertionError` where something is not as it should be;
    `InvalidValue`, before anything starts, where the report cannot be written."""
    from .. import __version__
    from .acts import ROUNDS, Show
    from .stage import set_stage

    console = console or Console()
    place = report or Path.cwd() / "memories-demo.html"
    check_place(place)
    record = Record(seed, __version__)
    started_s = time.monotonic()
    console.print("[bold]Memories at work[/bold]: replay, tiers and Memoria on two nodes, one of which dies.")
    with _progress(console, ROUNDS + 4) as (tell, advance):
        tell("starting two Ray nodes and the cluster")
        with set_stage(keep=keep) as stage:
            advance()
            show = Show(stage, record, tell)
            show.store_features()
            advance()
            show.open_replay()
            advance()
            show.run_rounds(advance)
            tell("checking everything")
            show.report()
            advance()
            record.took_s = time.monotonic() - started_s
            address = stage.address
    path = write_report(record, place)
    console.print(_table(record))
    console.print(f"The report: {path}", soft_wrap=True)
    if keep:
        console.print(
            f"The cluster stays: memories dashboard --address {address} --name demo; ray stop ends it."
        )
    else:
        console.print(f"All of it in {record.took_s:.0f} s; nothing but the report was left behind.")
    return record


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=steps)
        yield lambda what: progress.update(task, description=what), lambda: progress.advance(task)


def _table(record: Record) -> Table:
    table = Table(title="What happened", show_lines=False)
    table.add_column("")
    table.add_column("what")
    table.add_column("outcome", overflow="fold")
    for section in record.sections:
        for number, fact in enumerate(section.facts):
            table.add_row(section.title if number == 0 else "", fact.what, fact.sentence())
    return table
