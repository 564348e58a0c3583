"""What samplers and removers have in common: they are told what happens to rows, and choose some."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from .columns import ColumnStore
from .handles import Slots
from .priorities import Priorities
from .slots import SlotTable


@dataclass(frozen=True)
class Rows:
    """What a selector may look at: slots, columns, and each slot's raw priority (if any selector uses it).

    Examples:
        >>> from memories.replay import Selector
        >>> class Oldest(Selector):
        ...     def select(self, rows: Rows, n: int, rng):
        ...         return Draw(rows.slots.oldest(n), population=n)
    """

    slots: SlotTable
    columns: ColumnStore
    priorities: Priorities | None


class Draw(NamedTuple):
    """Chosen slots with the probability of each.

    ``slots`` has shape ``(n,)``, or ``(n, length)`` for sequences; of whole episodes it holds all rows
    one after another and ``lengths`` the length of each. ``probabilities`` is None for a uniform choice
    among ``population`` candidates; then ``smallest`` is not used. ``smallest`` is the probability of
    the least likely row that can be drawn: it normalises importance weights.

    Examples:
        >>> Draw(np.array([3, 1]), population=10).probabilities is None  # uniform among ten
        True
    """

    slots: Slots
    population: int
    probabilities: Priorities | None = None
    smallest: float = 0.0
    lengths: NDArray[np.int64] | None = None


class Selector(ABC):
    """Chooses rows. The buffer calls it under its lock, so it needs none of its own.

    A selector that keeps an index of rows overrides `insert`, `remove` and `update`; priorities are
    read from ``rows.priorities``. One object serves one buffer.

    Examples:
        >>> from memories.replay import FifoSampler, OldestRemover
        >>> isinstance(FifoSampler(), Selector), isinstance(OldestRemover(), Selector)
        (True, True)
    """

    uses_priorities: ClassVar[bool] = False
    #: Takes rows in insertion order from the old end: lets the buffer overwrite a full ring in place.
    takes_oldest: ClassVar[bool] = False
    #: False where a draw is a run of rows: `max_times_sampled` counts single rows only.
    draws_single_rows: ClassVar[bool] = True

    def __init__(self) -> None:
        self._rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        if self._rows is None:
            raise InvalidValue(f"{type(self).__name__} is not part of a buffer yet.")
        return self._rows

    def bind(self, rows: Rows) -> None:
        """Called once, when the buffer knows its schema and is empty."""
        if self._rows is not None:
            raise InvalidValue(
                f"This {type(self).__name__} already serves another buffer. Give each buffer its own."
            )
        self._rows = rows

    def make_room(self, count: int) -> None:  # noqa: B027 - a hook
        """The next ``count`` rows are about to be written, perhaps over the oldest ones."""

    def insert(self, slots: Slots) -> None:  # noqa: B027 - a hook
        """New rows are in these slots. A row that lived there before and was not removed is gone."""

    def insert_one(self, slot: int) -> None:
        """`insert` for a single row, in the fewest steps."""
        self.insert(np.array([slot], dtype=np.int64))

    def remove(self, slots: Slots) -> None:  # noqa: B027 - a hook
        """The rows in these slots are about to leave; their handles are still valid."""

    def update(self, slots: Slots) -> None:  # noqa: B027 - a hook
        """The priorities of these live slots changed (a slot may be named twice)."""

    def update_to(self, slots: Slots, priorities: Priorities, low: float, high: float) -> None:
        """`update` for whoever has the new priorities at hand, with the least and the largest of them."""
        self.update(slots)

    @abstractmethod
    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        """Choose ``count`` rows; raises `NothingToSample` where it cannot."""

    def rebuild(self) -> None:
        """Make the index anew from the restored rows, in insertion order."""
        self.insert(self.rows.slots.live())

    def bytes_per_row(self) -> int:
        """What the index takes, for capacities in bytes."""
        return 0

    def export_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """State that `rebuild` cannot find again from the rows: plain values, and arrays."""
        return {}, {}

    def import_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:  # noqa: B027 - a hook
        """Take back what `export_state` gave, after `rebuild`."""

    def describe(self) -> dict[str, Any]:
        """Name and configuration, as plain values: a checkpoint compares them."""
        return {"name": type(self).__name__}
