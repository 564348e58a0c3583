"""Photographs of a folder before every system call that changes it: what a SIGKILL then would leave."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

State = dict[str, bytes]

CALLS = ["unlink", "rename", "replace", "pwritev", "pwrite", "write", "ftruncate", "fsync", "fdatasync"]


class Photographer:
    """Copies of a folder, each with the states that it may show: before the change under way, and after."""

    def __init__(self, folder: Path, album: Path) -> None:
        self.folder = folder
        self.album = album
        self.allowed: tuple[State, ...] = ()
        self.photographs: list[tuple[Path, str, tuple[State, ...]]] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Photographs are taken from now on, wherever there is something allowed."""
        with pytest.MonkeyPatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, self._before(name, getattr(os, name)))
            yield

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if self.allowed:
                copy = self.album / f"{len(self.photographs)}"
                shutil.copytree(self.folder, copy)
                self.photographs.append((copy, f"{name}{arguments!r:.200}", self.allowed))
            return call(*arguments, **named)

        return called

    def develop(self, look: Callable[[Path], State]) -> None:
        """Look at every photograph: each key is as in one of the states that it may show."""
        for copy, what, allowed in self.photographs:
            found = look(copy)
            for key in {*found, *(key for state in allowed for key in state)}:
                values = [state.get(key) for state in allowed]
                assert found.get(key) in values, f"{key} is neither old nor new when killed before {what}"
