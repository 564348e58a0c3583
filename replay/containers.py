"""The containers that values came in, so that rows of columns can leave in the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Container:
    """Makes a list of values, one a row, from a column (or a dict or tuple of columns)."""

    rows: Callable[[Any], list[Any]]


def container_of(value: Any) -> Container:
    """The container of one value: of all rows, if they look like this one."""
    if isinstance(value, Mapping):
        return _of_mapping({str(name): container_of(inner) for name, inner in value.items()})
    if isinstance(value, tuple):
        if any(isinstance(inner, Mapping | np.ndarray | tuple) for inner in value):
            return _of_tuple([container_of(inner) for inner in value])
        return Container(lambda column: [tuple(row) for row in column.tolist()])
    if isinstance(value, list | bool | int | float | complex) and not isinstance(value, np.generic):
        return Container(lambda column: list(column.tolist()))
    if hasattr(value, "detach"):
        return Container(_tensors)
    return Container(list)  # arrays stay arrays, and NumPy scalars NumPy scalars


def _of_mapping(inner: dict[str, Container]) -> Container:
    def rows(columns: Mapping[str, Any]) -> list[Any]:
        values = [container.rows(columns[name]) for name, container in inner.items()]
        return [dict(zip(inner, row, strict=True)) for row in zip(*values, strict=True)]

    return Container(rows)


def _of_tuple(inner: list[Container]) -> Container:
    def rows(columns: tuple[Any, ...]) -> list[Any]:
        values = [container.rows(column) for container, column in zip(inner, columns, strict=True)]
        return list(zip(*values, strict=True))

    return Container(rows)


def _tensors(column: Any) -> list[Any]:
    import torch

    return list(torch.from_numpy(column).unbind(0))
