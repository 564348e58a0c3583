"""`waiting`: tells a person at a terminal what takes so long, once it has taken a while."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

PATIENCE_S = 2.0
"""How long a person waits before wanting to know."""


@contextmanager
def waiting(title: str, *, stream: TextIO | None = None) -> Iterator[None]:
    """After `PATIENCE_S` a moving bar with the time that has passed, on standard error, until the block ends.

    Nothing at all where standard error is no terminal.
    """
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_draw, args=(title, out, done), name="memories-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _draw(title: str, out: Any, done: threading.Event) -> None:
    if done.wait(PATIENCE_S):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=out), transient=True) as progress:
        progress.add_task(title, total=None)
        done.wait()
