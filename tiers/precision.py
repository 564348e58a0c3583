"""Lower precision on store, where the user asked for it."""

from __future__ import annotations

import torch

from ..errors import InvalidValue

PRECISIONS = ("float32", "float16", "bfloat16")

_FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def precision_named(name: str | None) -> torch.dtype | None:
    """The dtype of one of the `PRECISIONS`."""
    dtype: torch.dtype | None = None if name is None else getattr(torch, name)
    return dtype


def lowered(tensor: torch.Tensor, precision: torch.dtype | None) -> torch.Tensor:
    """The tensor in the given precision, where that is narrower than its own; never widened, and never
    from one 16-bit format to the other. Only floating dtypes of 16 bits and more are touched.

    Raises `InvalidValue` where finite values would become infinite.
    """
    if precision is None or tensor.dtype not in _FLOATING or tensor.dtype.itemsize <= precision.itemsize:
        return tensor
    narrow = tensor.to(precision)
    overflown = int((torch.isinf(narrow) & ~torch.isinf(tensor)).sum())
    if overflown:
        raise InvalidValue(
            f"{overflown:,} values are beyond the range of {str(precision).removeprefix('torch.')} "
            f"(largest: {tensor[torch.isfinite(tensor)].abs().max().item():g}): use bfloat16 or float32, "
            "or scale them"
        )
    return narrow
