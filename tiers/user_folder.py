"""Where a user's data lives: the data folder of the platform, readable by nobody else."""

from __future__ import annotations

import os
from pathlib import Path

from xxhash import xxh3_128_hexdigest

FOLDER_VARIABLE = "MEMORIES_DATA"
"""Environment variable that names another folder."""


def user_folder(*names: str) -> Path:
    """The folder of some data, made (mode 0700) where it is not there. Names may be any strings."""
    root = os.environ.get(FOLDER_VARIABLE)
    if root:
        folder = Path(root)
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "memories"
    for name in names:
        folder /= _safe(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _safe(name: str) -> str:
    """A file name that tells people what it is and is different for different names."""
    plain = "".join(
        letter if (letter.isalnum() and letter.isascii()) or letter in "-_." else "_" for letter in name
    )
    if plain == name and not name.startswith(".") and len(name) <= 100:
        return name
    return f"{plain[:60].lstrip('.')}-{xxh3_128_hexdigest(name.encode('utf-8', 'surrogatepass'))[:16]}"
