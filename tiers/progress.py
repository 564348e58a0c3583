"""`Progress`: a bar for those who wait, and nothing for everybody else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

PATIENCE_S = 2.0
"""How long a person waits before wanting to know."""


class Progress:
    """Counts steps, and once `PATIENCE_S` have passed draws a bar, if `stream` is a terminal.

    Use it as a context manager and call `advance` from one thread at a time.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        unit: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._wanted = self._stream.isatty()
        self._start_s = clock()
        self._done = 0
        self._bar: Any = None
        self._task: Any = None

    def advance(self, steps: int = 1) -> None:
        """So many steps more are done."""
        self._done += steps
        if not self._wanted:
            return
        if self._bar is None and self._clock() - self._start_s >= PATIENCE_S:
            self._draw()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self._unit),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._title, total=self._total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._wanted = False
