"""How commands write: tables for people, one JSON document for scripts, sizes and times with units."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

PIPE_WIDTH = 200
"""Columns of a table that goes into a file: wide enough that nothing is cut."""


def write_json(document: Any) -> None:
    """One document. What JSON does not know is written as its text."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def write_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; columns whose names begin with ">" are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def size_text(nbytes: float) -> str:
    """Bytes in powers of ten, three digits: "1.23 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(nbytes) < 1000 or unit == "TB":
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
        if 999.5 <= abs(nbytes) < 1000:  # would be shown as 1e+03
            nbytes = 1000.0
    raise AssertionError("unreachable")


def share_text(used: float, capacity: float) -> str:
    """Percent of a budget; nothing where there is no budget."""
    return f"{100.0 * used / capacity:.1f}%" if capacity else ""


def duration_text(seconds: float) -> str:
    """Seconds in the largest unit that is not below one."""
    for unit, length_s in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
