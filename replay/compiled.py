"""The compiled kernels, if they can be had: numba is imported at the first call that profits from it."""

from __future__ import annotations

from typing import Any


def kernels() -> Any | None:
    """The kernel functions when they are loaded, else None: then NumPy does the same work."""
    return None
