"""One metadata field of all rows: a byte for the kind of each cell and 64 bits for its content.

A field that few rows have keeps its cells apart (sparse: a slot for each row that has it); once many
have it, the slot is the row itself (dense).
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .cells import test_cells
from .dictionary import BoolArray, Dictionary, IntArray, TextDictionary
from .filters import Test
from .ordered import OrderedIndex
from .values import FLOAT, MISSING, OBJECT, TEXT, TRUE, moment_from_microseconds

Kinds = npt.NDArray[np.uint8]

_DENSE_FRACTION: Final = (
    16  # a field is dense once one row in so many has it: 9 bytes a row against about 160 a cell
)
_DENSE_MINIMUM: Final = 64
_DENSE_CHECK: Final = 63  # writes look whether it is time whenever the population is a multiple of 64
_SCANS_BEFORE_INDEXING: Final = 32  # building costs about as much as so many scans
_STALE_FRACTION: Final = 32
_STALE_MINIMUM: Final = 64


class Column:
    """Cells of one field. Rows are numbered by the owner, which calls `set` and `clear` only for rows
    below the ``row_count`` that it passes to `test`.

    Not thread-safe: the owner of the index serialises.
    """

    def __init__(self) -> None:
        self.population = 0
        self.texts = TextDictionary()
        self.objects: Dictionary[Any] = Dictionary()
        self.index_wanted = False
        self._is_due = False
        self._kinds_seen = 0  # a bit for each kind that a cell has had
        self._index: OrderedIndex | None = None
        self._stale_rows = array("q")
        self._is_stale: bytearray | None = None
        self._scans = 0
        self._slot_of: dict[int, int] | None = {}
        self._rows: IntArray = np.zeros(0, np.int64)
        self._kinds: Kinds = np.zeros(0, np.uint8)
        self._ints: IntArray = np.zeros(0, np.int64)
        self._allocate(4)

    # -- cells

    def _allocate(self, capacity: int) -> None:
        kinds: Kinds = np.zeros(capacity, np.uint8)
        ints: IntArray = np.zeros(capacity, np.int64)
        kept = min(capacity, len(self._kinds))
        kinds[:kept] = self._kinds[:kept]
        ints[:kept] = self._ints[:kept]
        self._kinds = kinds
        self._ints = ints
        # Single cells go through memoryviews: twice as fast as indexing the arrays.
        self._kind_cells = kinds.data
        self._int_cells = ints.data
        self._float_cells = ints.view(np.float64).data
        if self._slot_of is not None:
            rows = np.zeros(capacity, np.int64)
            rows[: self.population] = self._rows[: self.population]
            self._rows = rows

    def set(self, row: int, kind: int, payload: Any) -> None:
        """Write one cell; ``payload`` is what `values.encode_scalar` returned with ``kind``."""
        if self._slot_of is not None and not self.population & _DENSE_CHECK:
            self.make_dense_if_worth(row + 1)
        slot = row if self._slot_of is None else self._sparse_slot(row)
        if slot >= len(self._kinds):
            self._allocate(max(slot + 1, len(self._kinds) + (len(self._kinds) >> 2) + 64))
        if kind == FLOAT:
            self._float_cells[slot] = payload
        elif kind == TEXT:
            self._int_cells[slot] = self.texts.encode_text(payload)
        elif kind == OBJECT:
            self._int_cells[slot] = self.objects.encode(*payload)
        else:
            self._int_cells[slot] = payload
        if self._slot_of is None and not self._kind_cells[slot]:
            self.population += 1
        self._kind_cells[slot] = kind
        self._kinds_seen |= 1 << kind
        if self._index is not None:
            self._mark_stale(row)
        if kind == TEXT:
            if self.texts.wants_sweep(self.population):
                self._sweep(self.texts, TEXT)
        elif kind == OBJECT and self.objects.wants_sweep(self.population):
            self._sweep(self.objects, OBJECT)

    def clear(self, row: int) -> None:
        """Make one cell missing."""
        if self._slot_of is None:
            self._kind_cells[row] = MISSING
            self._int_cells[row] = 0
            self.population -= 1
            if self._index is not None:
                self._mark_stale(row)
            return
        slot = self._slot_of.pop(row)
        self.population -= 1
        last = self.population
        if slot != last:
            moved_row = int(self._rows[last])
            self._rows[slot] = moved_row
            self._slot_of[moved_row] = slot
            self._kinds[slot] = self._kinds[last]
            self._ints[slot] = self._ints[last]
        self._kinds[last] = MISSING
        self._ints[last] = 0

    def get(self, row: int) -> Any:
        """The value of a cell that is not missing, as it was stored; lists are fresh copies."""
        slot = row if self._slot_of is None else self._slot_of[row]
        kind = self._kind_cells[slot]
        match kind:
            case 1:
                return None
            case 2 | 3:
                return kind == TRUE
            case 4:
                return self._int_cells[slot]
            case 5:
                return self._float_cells[slot]
            case 6:
                return self.texts.values[self._int_cells[slot]]
            case 7 | 8 | 9:
                return moment_from_microseconds(kind, self._int_cells[slot])
            case _:
                return copy.deepcopy(self.objects.values[self._int_cells[slot]])

    def _sparse_slot(self, row: int) -> int:
        assert self._slot_of is not None
        slot = self._slot_of.get(row)
        if slot is None:
            slot = self._slot_of[row] = self.population
            if slot >= len(self._kinds):
                self._allocate(2 * len(self._kinds))
            self._rows[slot] = row
            self.population += 1
        return slot

    def make_dense_if_worth(self, row_count: int) -> None:
        """Change to one cell a row when enough of the ``row_count`` rows have the field."""
        population = self.population
        if self._slot_of is None or population < _DENSE_MINIMUM or population * _DENSE_FRACTION < row_count:
            return
        rows = self._rows[: self.population]
        kinds, ints = self._kinds[: self.population], self._ints[: self.population]
        self._slot_of = None
        self._rows = np.zeros(0, np.int64)
        self._kinds = self._kinds[:0]
        self._ints = self._ints[:0]
        self._allocate(max(row_count, int(rows.max()) + 1))
        self._kinds[rows] = kinds
        self._ints[rows] = ints

    def has_seen(self, kind: int) -> bool:
        """False if no cell has ever been of this kind (true does not promise that one is now)."""
        return bool(self._kinds_seen >> kind & 1)

    # -- cells of many rows

    def cells(self, row_count: int, rows: IntArray | None) -> tuple[Kinds, IntArray]:
        """Kinds and contents of ``rows`` (None: of all), missing ones included."""
        if self._slot_of is None:
            if len(self._kinds) < row_count:
                self._allocate(max(row_count, len(self._kinds) + (len(self._kinds) >> 2)))
            if rows is None:
                return self._kinds[:row_count], self._ints[:row_count]
            return self._kinds[rows], self._ints[rows]
        count = self.population
        kinds: Kinds = np.zeros(row_count, np.uint8)
        ints: IntArray = np.zeros(row_count, np.int64)
        kinds[self._rows[:count]] = self._kinds[:count]
        ints[self._rows[:count]] = self._ints[:count]
        return (kinds, ints) if rows is None else (kinds[rows], ints[rows])

    def test(self, test: Test, row_count: int, rows: IntArray | None) -> BoolArray:
        """Which of ``rows`` pass; a missing cell passes where None would."""
        if self._slot_of is None:
            if rows is None:
                self._scans += 1
            return test_cells(self, test, *self.cells(row_count, rows))
        count = self.population
        passed = test_cells(self, test, self._kinds[:count], self._ints[:count])
        absent = test_cells(self, test, np.zeros(1, np.uint8), np.zeros(1, np.int64))[0]
        mask = np.full(row_count, absent, np.bool_)
        mask[self._rows[:count]] = passed
        return mask if rows is None else mask[rows]

    # -- dictionaries and the ordered index

    def _sweep(self, dictionary: Dictionary[Any], kind: int) -> None:
        """Drop the values that no cell uses any more: overwritten text must not pile up."""
        places = np.flatnonzero(self._kinds == kind)
        renumbered = dictionary.retain(self._ints[places])
        self._ints[places] = renumbered[self._ints[places]]
        self.drop_index()

    def _mark_stale(self, row: int) -> None:
        assert self._is_stale is not None
        if row >= len(self._is_stale):
            self._is_stale.extend(bytes(row + 1 - len(self._is_stale) + len(self._is_stale) // 8))
        if not self._is_stale[row]:
            self._is_stale[row] = 1
            self._stale_rows.append(row)

    def drop_index(self) -> None:
        self._index = None
        self._is_stale = None
        self._stale_rows = array("q")
        self._scans = 0

    def index_if_worth(self, row_count: int) -> None:
        """Build the ordered index where it was asked for, or where scans have cost as much as it would."""
        if self._slot_of is not None:
            return
        if self._index is not None and len(self._stale_rows) > max(
            _STALE_MINIMUM, row_count // _STALE_FRACTION
        ):
            self.drop_index()
        if self._index is None and (self._is_due or self._scans >= _SCANS_BEFORE_INDEXING):
            self._index = OrderedIndex(*self.cells(row_count, None), self.texts)
            self._is_stale = bytearray(row_count + row_count // 8)
            self._is_due = False

    def want_index(self) -> None:
        """Build the index before the next query, and keep this column even while no row has the field."""
        self.index_wanted = True
        self._is_due = True

    def candidates(self, tests: Sequence[Test], limit: int, *, cheap: bool) -> IntArray | None:
        """Rows among which every row that passes all ``tests`` is, each once; None without an index, or
        where the index does not help (see `OrderedIndex.rows`). The caller tests them again."""
        if self._index is None or len(self._stale_rows) > limit:
            return None
        slices = self._index.rows(self, tests, limit, cheap=cheap)
        if slices is None:
            return None
        stale = np.array(self._stale_rows, np.int64)
        if not slices:
            return stale
        rows = np.concatenate(slices).astype(np.int64)
        if len(stale):
            rows = rows[np.frombuffer(self._is_stale or b"", np.uint8)[rows] == 0]
        return np.concatenate([rows, stale])

    def nbytes(self) -> int:
        """What the arrays take; the Python objects of the dictionaries are not counted."""
        total = self._kinds.nbytes + self._ints.nbytes + self._rows.nbytes + self.texts.nbytes_of_arrow()
        return total + (self._index.nbytes if self._index is not None else 0)
