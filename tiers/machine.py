"""What this machine has: budgets are clamped to it."""

from __future__ import annotations

import warnings
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where a container sees what limits it."""


def ram_bytes(cgroup: Path = CGROUP) -> int:
    """Memory that this process may use: that of the machine, or less where a container limits it."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = (cgroup / "memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def ram_used_bytes(cgroup: Path = CGROUP) -> int:
    """How much of `ram_bytes` is in use, by everybody who shares it: the container where that limits it, else
    the machine. What can be given back at once (files that were read long ago) does not count."""
    memory = psutil.virtual_memory()
    limit = ram_bytes(cgroup)
    if limit < memory.total:
        used = _used_in(cgroup)
        if used is not None:
            return min(limit, used)
    return min(limit, int(memory.total - memory.available))


def _used_in(cgroup: Path) -> int | None:
    """None where the container does not say."""
    try:
        current = int((cgroup / "memory.current").read_text(encoding="ascii"))
        lines = (cgroup / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = dict(line.split(maxsplit=1) for line in lines)
        return max(0, current - int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return None


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
