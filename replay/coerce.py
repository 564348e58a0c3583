"""Checking what users hand in before anything is written: shapes, dtypes, ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue
from .schema import ColumnSpec, as_numpy

_KIND_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def coerce(value: Any, spec: ColumnSpec, rows: int | None) -> NDArray[Any]:
    """``value`` as an array of exactly the column's dtype and shape; raises and changes nothing otherwise.

    ``rows`` is None for one row's value, else the length that the first axis must have. Integers may
    narrow and turn into bool where every value fits; floats never become integers silently.
    """
    array = as_numpy(value, spec.name)
    shape = spec.shape if rows is None else (rows, *spec.shape)
    if array.shape != shape:
        what = "one row" if rows is None else f"{rows} rows"
        raise InvalidValue(f"Column {spec.name!r} takes {what} of shape {shape}, got {array.shape}.")
    if array.dtype == spec.dtype:
        return array
    return _cast(array, spec)


def _cast(array: NDArray[Any], spec: ColumnSpec) -> NDArray[Any]:
    target = spec.dtype
    if array.size == 0:
        return array.astype(target)
    if target.kind == "b" or _KIND_ORDER[array.dtype.kind] > _KIND_ORDER[target.kind]:
        # Only a value that survives unchanged may go to a poorer kind (done flags as 0.0 and 1.0).
        if target.kind != "b":
            raise InvalidType(
                f"Column {spec.name!r} is {target} and cannot take {array.dtype} without losing what is "
                "behind the point. Convert it yourself, or change the schema."
            )
        if not np.isin(array, (0, 1)).all():
            raise InvalidValue(f"Column {spec.name!r} is bool; got values other than 0 and 1.")
    elif target.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(target)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise InvalidValue(f"Column {spec.name!r} is {target}; values from {low} to {high} do not fit.")
    with np.errstate(all="ignore"):  # 1e300 becomes inf in a float32 column, as with any NumPy assignment
        return array.astype(target)
