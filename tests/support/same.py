"""`same`: whether two values are equal in type, dtype, shape, layout and bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def same(left: Any, right: Any) -> bool:
    """Exact equality, NaN equal to NaN, and 0.0 not equal to -0.0."""
    if type(left) is not type(right):
        return False
    kind = type(left)
    root = kind.__module__.partition(".")[0]
    if isinstance(left, np.ndarray):
        return _same_arrays(left, right)
    if isinstance(left, np.str_ | np.bytes_):
        return len(left) == len(right) and bool(left == right)
    if isinstance(left, np.generic):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    if root == "torch":
        return _same_tensors(left, right)
    if root == "pyarrow":
        return (
            bool(left.equals(right, check_metadata=True)) if hasattr(left, "schema") else left.equals(right)
        )
    if root == "pandas":
        return _same_frames(left, right)
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) and (
            left == right or (left != left and right != right)
        )
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, memoryview):
        return left.format == right.format and left.shape == right.shape and left.tobytes() == right.tobytes()
    return bool(left == right)


def _same_arrays(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.hasobject or isinstance(left.dtype, np.dtypes.StringDType):
        return same(left.tolist(), right.tolist())
    return left.tobytes() == right.tobytes()


def _same_tensors(left: Any, right: Any) -> bool:
    import torch

    if not isinstance(left, torch.Tensor):
        return bool(left == right)
    if left.dtype != right.dtype or left.shape != right.shape or left.requires_grad != right.requires_grad:
        return False
    if left.layout != torch.strided:
        return bool(torch.equal(left.to_dense(), right.to_dense()))
    if not left.numel():
        return True
    flat = (
        x.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        for x in (left, right)
    )
    return bool(torch.equal(*flat))


def _same_frames(left: Any, right: Any) -> bool:
    import pandas as pd

    check = {
        pd.DataFrame: pd.testing.assert_frame_equal,
        pd.Series: pd.testing.assert_series_equal,
    }.get(type(left))
    try:
        if check is None:
            pd.testing.assert_index_equal(left, right, exact=True)
            return getattr(left, "freq", None) == getattr(right, "freq", None)
        check(left, right, check_exact=True, check_freq=True, check_flags=True)
        return same(dict(left.attrs), dict(right.attrs))
    except AssertionError:
        return False
