"""Folders below the user's data folder, readable by nobody else."""

from __future__ import annotations

from pathlib import Path

from xxhash import xxh3_128_hexdigest

from ..durable import make_private_folder
from ..paths import data_folder


def user_folder(*names: str) -> Path:
    """The folder of some data, made (mode 0700) where it is not there. Names may be any strings."""
    folder = data_folder()
    for name in names:
        folder /= _safe(name)
    make_private_folder(folder)
    return folder


def _safe(name: str) -> str:
    """A file name that tells people what it is and is different for different names."""
    plain = "".join(
        letter if (letter.isalnum() and letter.isascii()) or letter in "-_." else "_" for letter in name
    )
    if plain == name and not name.startswith(".") and len(name) <= 100:
        return name
    return f"{plain[:60].lstrip('.')}-{xxh3_128_hexdigest(name.encode('utf-8', 'surrogatepass'))[:16]}"
