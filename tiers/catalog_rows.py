"""The columns of the catalog: one row a key, 83 bytes, in arrays that grow together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_FIELDS: Final[dict[str, type]] = {
    "epoch": np.int64,
    "sequence": np.int64,
    "kind": np.uint8,
    "nbytes": np.int64,
    "holders": np.int32,
    "marks": np.int32,
    "priority": np.float64,
    "pinned": np.bool_,
    "expires_s": np.float64,
    "created_s": np.float64,
    "last_access_s": np.float64,
    "access_count": np.uint32,
    "client": np.int32,
    "client_sequence": np.int64,
    "used": np.bool_,
}


class CatalogRows:
    """Arrays for whole columns, and memoryviews of them (``…_cells``), which are twice as fast a cell.

    Views go stale when the table grows: take them from here each time.
    """

    epoch: npt.NDArray[np.int64]
    sequence: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    nbytes: npt.NDArray[np.int64]
    holders: npt.NDArray[np.int32]
    marks: npt.NDArray[np.int32]
    priority: npt.NDArray[np.float64]
    pinned: npt.NDArray[np.bool_]
    expires_s: npt.NDArray[np.float64]
    created_s: npt.NDArray[np.float64]
    last_access_s: npt.NDArray[np.float64]
    access_count: npt.NDArray[np.uint32]
    client: npt.NDArray[np.int32]
    client_sequence: npt.NDArray[np.int64]
    used: npt.NDArray[np.bool_]

    def __init__(self) -> None:
        self.count = 0
        self._capacity = 0
        self._grow(16)

    def _grow(self, least: int) -> None:
        capacity = max(least, self._capacity + (self._capacity >> 1))
        for name, dtype in _FIELDS.items():
            grown: npt.NDArray[Any] = np.zeros(capacity, dtype)
            if self._capacity:
                grown[: self.count] = getattr(self, name)[: self.count]
            setattr(self, name, grown)
        self._capacity = capacity
        self.epoch_cells = self.epoch.data
        self.sequence_cells = self.sequence.data
        self.kind_cells = self.kind.data
        self.nbytes_cells = self.nbytes.data
        self.holders_cells = self.holders.data
        self.marks_cells = self.marks.data
        # Typed as Any: a memoryview is said to hold ints, and these hold floats and bools.
        self.priority_cells: Any = self.priority.data
        self.pinned_cells: Any = self.pinned.data
        self.expires_cells: Any = self.expires_s.data
        self.created_cells: Any = self.created_s.data
        self.last_access_cells: Any = self.last_access_s.data
        self.access_count_cells = self.access_count.data
        self.client_cells = self.client.data
        self.client_sequence_cells = self.client_sequence.data
        self.used_cells: Any = self.used.data

    def append(self, count: int) -> int:
        """Add rows of zeros; returns the number of the first."""
        first = self.count
        if first + count > self._capacity:
            self._grow(first + count)
        self.count += count
        return first

    @property
    def row_bytes(self) -> int:
        return sum(np.dtype(dtype).itemsize for dtype in _FIELDS.values())
