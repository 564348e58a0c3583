"""The rows of a buffer as they were at one moment, read chunk by chunk while the buffer goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Columns, ColumnStore
from .handles import Slots


class RowSnapshot:
    """Rows of ``slots``, in that order, as they are now. The buffer's lock guards every call.

    Nothing is copied ahead: a row that is about to be overwritten before its turn is set aside first.
    """

    def __init__(self, columns: ColumnStore, slots: Slots) -> None:
        self._columns = columns
        self._dtypes = {spec.name: spec.dtype for spec in columns.schema}  # columns may widen meanwhile
        self._slots = slots
        self._position = np.full(columns.capacity, -1, dtype=np.int64)
        self._position[slots] = np.arange(slots.size)
        self._done = 0
        self._aside: list[tuple[NDArray[np.int64], Columns]] = []

    @property
    def remaining(self) -> int:
        return self._slots.size - self._done

    def before_overwrite(self, slots: Slots) -> None:
        """Set aside those of these rows that were not read yet."""
        positions = self._position[slots]
        wanted = positions >= self._done
        if wanted.any():
            slots = slots[wanted]
            self._aside.append((positions[wanted], self._read(slots)))
            self._position[slots] = -1

    def next_chunk(self, rows: int) -> Columns:
        """The next ``rows`` rows (fewer at the end)."""
        start, stop = self._done, min(self._done + rows, self._slots.size)
        slots = self._slots[start:stop]
        # What was set aside is not read again: its slot may hold another row by now, or none.
        in_place = np.flatnonzero(self._position[slots] >= 0)
        chunk = self._read(slots[in_place])
        if self._aside:
            positions = np.concatenate([p for p, _ in self._aside])
            aside = {name: np.concatenate([c[name] for _, c in self._aside]) for name in chunk}
            now = positions < stop
            order = np.argsort(np.concatenate([start + in_place, positions[now]]))
            chunk = {name: np.concatenate([c, aside[name][now]])[order] for name, c in chunk.items()}
            later = ~now
            self._aside = [(positions[later], {n: c[later] for n, c in aside.items()})] if later.any() else []
        self._done = stop
        return chunk

    def _read(self, slots: Slots) -> Columns:
        gathered: Mapping[str, Any] = self._columns.gather(slots)
        return {name: gathered[name].astype(dtype, copy=False) for name, dtype in self._dtypes.items()}
