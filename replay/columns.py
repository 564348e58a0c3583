"""Preallocated columns: one row of every column per slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..durable import make_private_folder
from ..errors import InvalidValue
from .coerce import coerce
from .frames import ImageStorage
from .handles import Slots
from .pace import Pace
from .packed import PACKED_COLUMN_BYTES, PackedRows, allocate
from .packed_batch import PackedBatch
from .schema import Schema
from .wide import gather_wide

Columns = dict[str, NDArray[Any]]

# Python scalars that a column of this kind takes as they are (integers need a look at their range).
_SCALAR_TYPES: dict[str, tuple[type, ...]] = {"f": (float,), "b": (bool,), "i": (), "u": (), "c": ()}


class ColumnStore:
    """The values of a buffer. Not thread-safe: the buffer's lock guards it.

    Memory is reserved, not touched, until rows are written. With ``folder`` the columns are files
    there, mapped into memory, and may be larger than RAM; they are scratch space, not a checkpoint.
    """

    def __init__(
        self,
        schema: Schema,
        capacity: int,
        folder: Path | None = None,
        images: ImageStorage | None = None,
    ) -> None:
        self.schema = schema
        self.capacity = capacity
        self._folder, self._images = folder, images
        if folder is not None:
            make_private_folder(folder)
        # These stand in for the arrays of their columns: assignment by rows, `take`.
        frames: dict[str, Any] = {} if images is None else images.build(schema, capacity)
        narrow = [c for c in schema if 0 < c.nbytes <= PACKED_COLUMN_BYTES and c.name not in frames]
        wide = [c for c in schema if c not in narrow and c.name not in frames]
        self.packed = (
            PackedRows(narrow, capacity, None if folder is None else folder / "packed.bin")
            if narrow
            else None
        )
        self.wide: dict[str, Any] = {
            c.name: allocate(
                (capacity, *c.shape),
                c.dtype,
                None if folder is None or c.nbytes == 0 else folder / f"wide_{i}.bin",
            )
            for i, c in enumerate(wide)
        } | frames
        views: dict[str, Any] = dict(self.wide)
        if self.packed is not None:
            views.update(self.packed.views)
        self.views: dict[str, Any] = {c.name: views[c.name] for c in schema}
        # What `check_row` and `check_batch` accept without a closer look, in schema order.
        self._row_plan: list[tuple[tuple[type, ...], np.dtype[Any], tuple[int, ...]]] = [
            ((*_SCALAR_TYPES[c.dtype.kind], c.dtype.type) if c.shape == () else (), c.dtype, c.shape)
            for c in schema
        ]
        self._batch_plan: list[tuple[np.dtype[Any], tuple[int, ...]]] = []
        self._batch_rows = -1
        self._pace = Pace()
        names = schema.names
        self._pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda values: (values[names[0]],)
        )
        self._targets = [self.views[c.name] for c in schema]

    @property
    def row_nbytes(self) -> int:
        """Bytes that one row takes here."""
        packed = self.packed.stride if self.packed is not None else 0
        return packed + sum(self.schema[name].nbytes for name in self.wide)

    def check_row(self, row: Mapping[str, Any]) -> list[Any]:
        """One row's values in schema order, ready for `write_row`; raises if any is unacceptable."""
        values = self._in_order(row)
        for i, (kinds, dtype, shape) in enumerate(self._row_plan):
            value = values[i]
            kind = type(value)
            if kind in kinds or (kind is np.ndarray and value.dtype is dtype and value.shape == shape):
                continue
            values[i] = coerce(value, self.schema.columns[i], None)
        return values

    def write_row(self, slot: int, values: list[Any]) -> None:
        for target, value in zip(self._targets, values, strict=True):
            target[slot] = value

    def pack(self, start: int, stop: int) -> PackedBatch:
        """The rows in these slots as they lie here: views, for a store of the same schema."""
        if self._images is not None:
            raise InvalidValue("Frames that are kept once cannot be handed on as they lie: read the rows.")
        packed = None if self.packed is None else self.packed.bytes[start:stop]
        return PackedBatch(stop - start, packed, tuple(column[start:stop] for column in self.wide.values()))

    def check_packed(self, batch: PackedBatch) -> tuple[PackedBatch, int]:
        """The batch, ready for `write`, and how many rows; raises unless a store like this one packed it."""
        ours, theirs = self.pack(0, 0), batch.part(0, 0)
        same_packed = (
            ours.packed is theirs.packed
            if ours.packed is None or theirs.packed is None
            else ours.packed.shape == theirs.packed.shape and theirs.packed.dtype == np.uint8
        )
        same_wide = [(c.shape, c.dtype) for c in ours.wide] == [(c.shape, c.dtype) for c in theirs.wide]
        columns = batch.wide if batch.packed is None else (batch.packed, *batch.wide)
        if not (same_packed and same_wide and all(len(column) == batch.rows for column in columns)):
            raise InvalidValue(f"A packed batch of another schema than {self.schema} cannot be stored.")
        return batch, batch.rows

    def check_batch(self, batch: Mapping[str, Any]) -> tuple[list[NDArray[Any]], int]:
        """A batch's columns in schema order, ready for `write`, and how many rows; or raises."""
        values = self._in_order(batch)
        first = values[0]
        rows = len(first) if type(first) is np.ndarray and first.ndim else _row_count(first, self.schema)
        if rows != self._batch_rows:  # batches tend to have one size
            self._batch_plan = [(spec.dtype, (rows, *spec.shape)) for spec in self.schema]
            self._batch_rows = rows
        for i, (dtype, shape) in enumerate(self._batch_plan):
            value = values[i]
            if type(value) is np.ndarray and value.dtype is dtype and value.shape == shape:
                continue
            values[i] = coerce(value, self.schema.columns[i], rows)
        return values, rows

    def _in_order(self, values: Mapping[str, Any]) -> list[Any]:
        """The values of a row or batch in schema order; raises unless they are exactly our columns."""
        if len(values) == len(self.schema):
            try:
                return list(self._pick(values))
            except KeyError:
                pass  # nested, or wrong names
        return list(self._pick(self.schema.flatten(values)))

    def write(self, where: slice | Slots, columns: Sequence[NDArray[Any]] | PackedBatch) -> None:
        """Write checked columns to the slots ``where``, in order."""
        if isinstance(columns, PackedBatch):
            if self.packed is not None and columns.packed is not None:
                self.packed.bytes[where] = columns.packed
            for target, values in zip(self.wide.values(), columns.wide, strict=True):
                target[where] = values
            return
        for target, values in zip(self._targets, columns, strict=True):
            target[where] = values

    def gather(self, slots: Slots) -> Columns:
        """Fresh contiguous copies of the rows in ``slots``, in schema order."""
        found: Columns = {} if self.packed is None else self.packed.gather(slots)
        for name, column in self.wide.items():
            frames = not isinstance(column, np.ndarray)
            found[name] = column.take(slots) if frames else gather_wide(column, slots, self._pace)
        return {name: found[name] for name in self.views}

    def widen(self, schema: Schema, live: Slots) -> None:
        """Go over to wider dtypes of the same columns, keeping the rows in ``live`` in their slots."""
        if self._folder is not None:
            raise InvalidValue("Columns in mapped files cannot change their dtype. Begin with the wider one.")
        for spec in schema:
            old = self.schema[spec.name]
            if spec.shape != old.shape or not np.can_cast(old.dtype, spec.dtype, "safe"):
                raise InvalidValue(f"Column {spec.name!r} cannot go from {old} to {spec} without loss.")
        wider = ColumnStore(schema, self.capacity, None, self._images)
        wider.write(live, list(self.gather(live).values()))
        self.__dict__.update(wider.__dict__)  # samplers hold this object


def _row_count(first: Any, schema: Schema) -> int:
    try:
        return len(first)
    except TypeError:
        name = schema.columns[0].name
        raise InvalidValue(f"Column {name!r} of a batch needs a first axis (rows), got a scalar.") from None
