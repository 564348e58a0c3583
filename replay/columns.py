"""Preallocated columns: one row of every column per slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from .coerce import coerce
from .frames import ImageStorage
from .handles import Slots
from .packed import PACKED_COLUMN_BYTES, PackedRows, allocate
from .schema import ColumnSpec, Schema
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
            folder.mkdir(parents=True, exist_ok=True)
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
        self._plan: list[tuple[ColumnSpec, str, np.dtype[Any], tuple[int, ...], tuple[type, ...]]] = [
            (
                c,
                c.name,
                c.dtype,
                c.shape,
                (*_SCALAR_TYPES[c.dtype.kind], c.dtype.type) if c.shape == () else (),
            )
            for c in schema
        ]
        self._batch_rows = -1
        self._batch_shapes: list[tuple[int, ...]] = []
        self._targets = [self.views[c.name] for c in schema]

    @property
    def row_nbytes(self) -> int:
        """Bytes that one row takes here."""
        packed = self.packed.stride if self.packed is not None else 0
        return packed + sum(self.schema[name].nbytes for name in self.wide)

    def check_row(self, row: Mapping[str, Any]) -> list[Any]:
        """One row's values in schema order, ready for `write_row`; raises if any is unacceptable."""
        row = self._flat(row)
        values: list[Any] = []
        for spec, name, dtype, shape, scalar_types in self._plan:
            value = row[name]
            kind = type(value)
            if kind in scalar_types or (kind is np.ndarray and value.dtype is dtype and value.shape == shape):
                values.append(value)
            else:
                values.append(coerce(value, spec, None))
        return values

    def write_row(self, slot: int, values: list[Any]) -> None:
        for target, value in zip(self._targets, values, strict=True):
            target[slot] = value

    def check_batch(self, batch: Mapping[str, Any]) -> tuple[list[NDArray[Any]], int]:
        """A batch's columns in schema order, ready for `write`, and how many rows; or raises."""
        batch = self._flat(batch)
        rows = _row_count(batch[self._plan[0][1]], self._plan[0][0])
        if rows != self._batch_rows:  # batches tend to have one size
            self._batch_shapes = [(rows, *spec.shape) for spec in self.schema]
            self._batch_rows = rows
        checked: list[NDArray[Any]] = []
        for (spec, name, dtype, _, _), shape in zip(self._plan, self._batch_shapes, strict=True):
            value = batch[name]
            if type(value) is np.ndarray and value.dtype is dtype and value.shape == shape:
                checked.append(value)
            else:
                checked.append(coerce(value, spec, rows))
        return checked, rows

    def _flat(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Flat columns, exactly ours; the usual case is told in the fewest steps."""
        if len(values) == len(self._plan):
            for plan in self._plan:
                if plan[1] not in values:
                    break
            else:
                return values
        return self.schema.flatten(values)

    def write(self, where: slice | Slots, columns: Sequence[NDArray[Any]]) -> None:
        """Write checked columns to the slots ``where``, in order."""
        for target, values in zip(self._targets, columns, strict=True):
            target[where] = values

    def gather(self, slots: Slots) -> Columns:
        """Fresh contiguous copies of the rows in ``slots``, in schema order."""
        found: Columns = {} if self.packed is None else self.packed.gather(slots)
        for name, column in self.wide.items():
            frames = not isinstance(column, np.ndarray)
            found[name] = column.take(slots) if frames else gather_wide(column, slots)
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


def _row_count(value: Any, spec: ColumnSpec) -> int:
    try:
        return len(value)
    except TypeError:
        raise InvalidValue(
            f"Column {spec.name!r} of a batch needs a first axis (rows), got a scalar."
        ) from None
