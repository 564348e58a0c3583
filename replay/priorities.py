"""Priorities as users give them: one number or one per row, finite and not negative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue
from . import compiled
from .handles import Handles, Slots
from .slots import SlotTable

Priorities = NDArray[np.float64]
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


def check_priorities(priorities: Any, count: int) -> Priorities:
    """``count`` priorities as float64, from a number, a list, an array or a tensor; or an error."""
    given = as_priorities(priorities, count)
    check_values(given)
    return given


def as_priorities(priorities: Any, count: int) -> Priorities:
    """As `check_priorities`, with whatever values there are."""
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
    return given.reshape(-1)


def check_values(given: Priorities) -> None:
    """Raises where a priority is not finite and at least 0."""
    # Written so that NaN is caught as well: every comparison with it is false.
    if given.size and not (float(given.min()) >= 0.0 and float(given.max()) < np.inf):
        bad = given[~((given >= 0) & (given < np.inf))]
        raise InvalidValue(
            f"Priorities must be finite and at least 0; {bad.size} of {given.size} are not (first: {bad[0]})."
            " For TD errors use their absolute value plus a small constant."
        )


def store_priorities(
    table: SlotTable, stored: Priorities, named: Handles, given: Priorities
) -> tuple[Slots, Priorities, float, float]:
    """Set the priorities of the rows that ``named`` still names; or raise, with nothing changed.

    Returns their slots and priorities (of a row that is named twice the last one stands), and the least
    and the largest of these.
    """
    kernels = compiled.load()
    if kernels is None:
        check_values(given)
        slots, fresh = table.resolve(named)
        if not fresh.all():
            slots, given = slots[fresh], given[fresh]
        stored[slots] = given
        return slots, given, float(given.min(initial=np.inf)), float(given.max(initial=0.0))
    named, given = compiled.plain(named, _INT64), compiled.plain(given, _FLOAT64)
    slots, kept, bounds = np.empty(named.size, np.int64), np.empty(named.size), np.empty(2)
    count = kernels.set_priorities(
        named, given, table.handles, table.layout.slot_mask, stored, slots, kept, bounds
    )
    if count < 0:
        check_values(given)
    return slots[:count], kept[:count], bounds.item(0), bounds.item(1)
