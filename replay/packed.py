"""Small columns side by side in one byte row, so that gathering a row touches few cache lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compiled
from .handles import Slots
from .schema import ColumnSpec

PACKED_COLUMN_BYTES = 1024  # a wider column gains nothing from neighbours and lives on its own
_WORD = 8
_OUTPUT_ALIGNMENT = 64


@dataclass(frozen=True)
class Field:
    """Where a column lies inside a packed row."""

    spec: ColumnSpec
    offset: int


def lay_out(specs: Sequence[ColumnSpec]) -> tuple[list[Field], int]:
    """Fields in order of falling alignment, and the row's stride in bytes (a multiple of 8)."""
    fields, offset = [], 0
    for spec in sorted(specs, key=lambda spec: -min(spec.dtype.itemsize, _WORD)):
        alignment = min(spec.dtype.itemsize, _WORD)
        offset = -(-offset // alignment) * alignment
        fields.append(Field(spec, offset))
        offset += spec.nbytes
    return fields, -(-offset // _WORD) * _WORD


class PackedRows:
    """Columns interleaved in a ``(capacity, stride)`` byte array, in memory or in a mapped file."""

    def __init__(self, specs: Sequence[ColumnSpec], capacity: int, path: Path | None = None) -> None:
        self.fields, self.stride = lay_out(specs)
        self.rows = allocate((capacity, self.stride), np.dtype(np.uint8), path)
        self.views = {
            f.spec.name: self.rows[:, f.offset : f.offset + f.spec.nbytes]
            .view(f.spec.dtype)
            .reshape(capacity, *f.spec.shape)
            for f in self.fields
        }
        # For the compiled gather: offset, bytes and copy unit (8, 4 or 1 bytes) of each field.
        self._offsets = np.array([f.offset for f in self.fields], dtype=np.int64)
        self._sizes = np.array([f.spec.nbytes for f in self.fields], dtype=np.int64)

    def gather(self, slots: Slots) -> dict[str, NDArray[Any]]:
        """The rows in ``slots`` as fresh contiguous columns."""
        count = slots.size
        kernels = compiled.kernels()
        if kernels is None:
            packed = self.rows.take(slots, axis=0, mode="clip")
            return {
                f.spec.name: np.ascontiguousarray(
                    packed[:, f.offset : f.offset + f.spec.nbytes].view(f.spec.dtype)
                ).reshape(count, *f.spec.shape)
                for f in self.fields
            }
        starts, total = [], 0
        for field in self.fields:
            starts.append(total)
            total += -(-count * field.spec.nbytes // _OUTPUT_ALIGNMENT) * _OUTPUT_ALIGNMENT
        out = np.empty(total, dtype=np.uint8)
        kernels.gather_packed(self.rows, slots, self._offsets, self._sizes, np.array(starts, np.int64), out)
        return {
            f.spec.name: out[start : start + count * f.spec.nbytes]
            .view(f.spec.dtype)
            .reshape(count, *f.spec.shape)
            for f, start in zip(self.fields, starts, strict=True)
        }


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path | None) -> NDArray[Any]:
    """Memory that costs nothing until it is written, or a mapped file (created sparse)."""
    if path is None:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="w+", shape=shape)
