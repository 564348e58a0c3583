"""What this machine has: budgets are clamped to it."""

from __future__ import annotations

import warnings
from pathlib import Path

import psutil


def ram_bytes() -> int:
    """Memory that this process may use: that of the machine, or less where a container limits it."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def clamp_budget(name: str, wanted_bytes: int, available_bytes: int) -> int:
    """The budget, or what the machine has where that is less, with a warning that says so."""
    if wanted_bytes <= available_bytes:
        return wanted_bytes
    warnings.warn(
        f"{name} was given {wanted_bytes / 10**9:,.2f} GB, but this machine has "
        f"{available_bytes / 10**9:,.2f} GB for it: the smaller number is its budget",
        RuntimeWarning,
        stacklevel=4,
    )
    return available_bytes
