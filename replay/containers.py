"""The containers that values came in, so that rows of columns can leave in the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidValue
from .schema import SEPARATOR, is_tuple_of_columns


@dataclass(frozen=True)
class Container:
    """Makes a list of values, one a row, from flat columns."""

    rows: Callable[[Mapping[str, Any]], list[Any]]


def container_of(name: str, value: Any) -> Container:
    """The container of the value of one column, or of the columns below `name`: of all rows, if they look
    like this one. Raises `InvalidValue` for a dict that holds nothing."""
    if isinstance(value, Mapping):
        if not value:
            raise InvalidValue(f"{name!r} is an empty dict: there is nothing in it to store.")
        return _of_mapping(list(value), _below(name, value.items()))
    if is_tuple_of_columns(value):
        return _of_tuple(_below(name, enumerate(value)))
    if isinstance(value, tuple):
        return Container(lambda columns: [tuple(row) for row in columns[name].tolist()])
    if isinstance(value, list | bool | int | float | complex) and not isinstance(value, np.generic):
        return Container(lambda columns: list(columns[name].tolist()))
    if hasattr(value, "detach"):
        return Container(lambda columns: _tensors(columns[name]))
    return Container(lambda columns: list(columns[name]))  # arrays stay arrays, NumPy scalars NumPy scalars


def _below(name: str, values: Iterable[tuple[Any, Any]]) -> list[Container]:
    return [container_of(f"{name}{SEPARATOR}{key}", value) for key, value in values]


def _of_mapping(keys: list[Any], inner: list[Container]) -> Container:
    def rows(columns: Mapping[str, Any]) -> list[Any]:
        values = [container.rows(columns) for container in inner]
        return [dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True)]

    return Container(rows)


def _of_tuple(inner: list[Container]) -> Container:
    def rows(columns: Mapping[str, Any]) -> list[Any]:
        return list(zip(*(container.rows(columns) for container in inner), strict=True))

    return Container(rows)


def _tensors(column: Any) -> list[Any]:
    import torch

    return list(torch.from_numpy(column).unbind(0))
