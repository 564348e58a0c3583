"""Rows of tensors and arrays, taken on their device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..errors import InvalidType, InvalidValue
from .hot_values import ArrayLeaf, Node, TensorLeaf


def has_rows(node: Node) -> bool:
    """Whether the value is a tensor or an array."""
    return isinstance(node, TensorLeaf | ArrayLeaf)


def read_rows(
    node: Node, start: int | None, end: int | None, rows: Sequence[int] | None, writable: bool
) -> Any:
    """Some rows of a tensor or an array: a slice, or rows by number (negative ones count from the end).

    Raises `InvalidType` where it has no dimensions, `InvalidValue` for rows that it does not have.
    """
    assert isinstance(node, TensorLeaf | ArrayLeaf)
    tensor = node.tensor
    if tensor.dim() == 0:
        raise InvalidType("a value without dimensions has no rows: read it whole")
    if rows is None:
        return replace(node, tensor=tensor[slice(start, end)]).read(writable)
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise InvalidType("rows are chosen by a one-dimensional sequence of integers")
    count = tensor.shape[0]
    wrong = numbers[(numbers < -count) | (numbers >= count)]
    if wrong.size:
        raise InvalidValue(
            f"row {int(wrong[0])} of a value of {count} rows: it has the rows 0 to {count - 1}"
        )
    positive = np.where(numbers < 0, numbers + count, numbers).astype(np.int64)
    chosen = tensor[torch.from_numpy(positive).to(tensor.device)]
    if isinstance(node, TensorLeaf):
        # Indexing has copied already.
        return torch.nn.Parameter(chosen, node.requires_grad) if node.parameter else chosen
    return ArrayLeaf(chosen).read(writable)
