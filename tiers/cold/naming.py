"""The names of files that hold one value each: given before the frames that tell of them are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...durable import sync_folder


@contextmanager
def named(renames: Sequence[tuple[Path, Path]], folder: Path) -> Iterator[None]:
    """Durably give files of a folder their names; on an error, in here or in what follows, each is back
    under its old name."""
    try:
        for temporary, name in renames:
            os.rename(temporary, name)
        if renames:
            sync_folder(folder)
        yield
    except BaseException:
        # Without this the files would be found at the next start, though storing them failed.
        for temporary, name in renames:
            _take_back(temporary, name)
        if renames:
            with suppress(OSError):
                sync_folder(folder)
        raise


def _take_back(temporary: Path, name: Path) -> None:
    try:
        os.rename(name, temporary)
    except FileNotFoundError:  # it had not got its name yet
        return
    except OSError:  # better no file than one whose value nobody stored
        with suppress(OSError):
            name.unlink()
