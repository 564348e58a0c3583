"""Where Memories keeps what outlives a process."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The user's data folder: ``$MEMORIES_HOME``, else ``$XDG_DATA_HOME/memories``, else
    ``~/.local/share/memories``. It need not exist: `durable.make_private_folder` makes it."""
    if home := os.environ.get("MEMORIES_HOME"):
        return Path(home).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "memories"
