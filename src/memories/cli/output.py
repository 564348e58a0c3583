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
    """One document, in ASCII, which no terminal refuses. What JSON does not know is written as its text."""
    click.echo(json.dumps(document, indent=2, default=str))


def printable(text: str) -> str:
    """Text that can be encoded: a half of a surrogate pair, which keys may hold, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


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
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def size_text(nbytes: float) -> str:
    """Bytes in powers of ten, three digits: "1.23 GB"."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if abs(nbytes) < 999.5:  # what would be shown as 1,000 is one of the next unit
            break
        nbytes, unit = nbytes / 1000, larger
    return f"{nbytes:.0f} B" if unit == "B" else f"{_digits(nbytes)} {unit}"


def share_text(used: float, capacity: float) -> str:
    """Percent of a budget; nothing where there is no budget."""
    return f"{100.0 * used / capacity:.1f}%" if capacity else ""


def duration_text(seconds: float) -> str:
    """Seconds in the largest unit of which there is one, after rounding: "59 s", "1 min", "34.3 h"."""
    amount, unit = float(f"{max(seconds, 0.0):.0f}"), "s"
    for larger, factor in (("min", 60.0), ("h", 60.0), ("d", 24.0)):
        if float(_digits(amount).replace(",", "")) < factor:
            break
        amount, unit = max(amount, factor) / factor, larger
    return f"{_digits(amount)} {unit}"


def _digits(number: float) -> str:
    """Three that count, and all of a large number."""
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:.3g}"
