"""Priorities as users give them: one number or one per row, finite and not negative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue

Priorities = NDArray[np.float64]


def check_priorities(priorities: Any, count: int) -> Priorities:
    """``count`` priorities as float64, from a number, a list, an array or a tensor; or an error."""
    if hasattr(priorities, "detach"):
        priorities = priorities.detach().cpu()
    try:
        given: Priorities = np.asarray(priorities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidType(f"Priorities must be numbers: {error}") from error
    if given.ndim == 0:
        given = np.full(count, float(given))
    elif given.size != count:
        raise InvalidValue(f"Got {given.size} priorities for {count} rows.")
    given = given.reshape(-1)
    # Written so that NaN is caught as well: every comparison with it is false.
    if count and not (float(given.min()) >= 0.0 and float(given.max()) < np.inf):
        bad = given[~((given >= 0) & (given < np.inf))]
        raise InvalidValue(
            f"Priorities must be finite and at least 0; {bad.size} of {count} are not (first: {bad[0]}). "
            "For TD errors use their absolute value plus a small constant."
        )
    return given
