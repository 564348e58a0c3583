"""Rows and columns as writers see them: named arrays, nested where an observation is a dict.

A writer takes what the user has (``obs`` may be an array, or nested dicts and tuples of arrays),
works on flat columns (``obs/image``), and hands those to the sink.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidType, InvalidValue

Columns: TypeAlias = dict[str, NDArray[Any]]


class Sink(Protocol):
    """Where finished rows go: a buffer in this process, a client of remote shards, another writer.

    Columns are flat (``obs/image``) and have the same length. When the call raises, no row was taken
    and the same rows may be given again.

    Examples:
        >>> from memories.replay import BatchWriter
        >>> class Count:
        ...     rows = 0
        ...     def add_batch(self, columns):
        ...         self.rows += len(next(iter(columns.values())))
        >>> sink = Count()
        >>> with BatchWriter(sink, batch_size=2) as writer:
        ...     for x in range(5):
        ...         writer.add(x=x)
        >>> sink.rows
        5
    """

    def add_batch(self, columns: dict[str, NDArray[Any]], /) -> Any: ...


def as_column(name: str, value: Any) -> NDArray[Any]:
    """The value as an array of numbers; what NumPy could only keep as Python objects is refused."""
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged nested sequences
        raise InvalidValue(f"Column {name!r} is ragged: {error}") from None
    if array.dtype.kind not in "biufc":
        raise InvalidType(
            f"Column {name!r} holds {type(value).__name__}, which is no array of numbers. "
            "Convert it first (an absent next observation: repeat the last one and set terminated=True)."
        )
    return array


def as_flags(name: str, array: NDArray[Any]) -> NDArray[np.bool_]:
    """The column as booleans; numbers other than 0 and 1 are refused."""
    if array.dtype == np.bool_:
        return array
    flags = array.astype(np.bool_)
    if array.dtype.kind not in "iuf" or not np.array_equal(flags, array):
        raise InvalidValue(f"Column {name!r} holds flags: True/False or 0/1, not {array!r}.")
    return flags


def common_length(columns: Mapping[str, NDArray[Any]]) -> int:
    """The number of rows of a batch; no columns, or columns of different lengths, are an error."""
    lengths = {name: len(array) if array.ndim else None for name, array in columns.items()}
    distinct = set(lengths.values())
    if len(distinct) != 1 or None in distinct:
        described = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "no columns"
        raise InvalidValue(f"All columns of a batch need the same number of rows; got {described}.")
    return next(length for length in distinct if length is not None)


def concatenate(parts: Iterable[Columns]) -> Columns:
    """Join batches of equal columns, in order."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
