"""NumPy dtypes as msgpack trees, without pickle and exactly: byte order, fields, offsets, alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import CorruptData
from .header import Tree

_MAX_DEPTH = 32


def encode_dtype(dtype: np.dtype[Any]) -> Tree:
    """The tree of a dtype, or NotImplemented for those that only pickle can carry (objects, and types
    that other packages add to NumPy)."""
    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        return NotImplemented
    if dtype.names is None:
        if dtype.subdtype is not None:
            base, shape = dtype.subdtype
            inner = encode_dtype(base)
            return inner if inner is NotImplemented else ["sub", inner, list(shape)]
        # bfloat16 of ml_dtypes calls itself '<V2', and would come back as raw bytes.
        return dtype.str if np.dtype(dtype.str) == dtype else NotImplemented
    fields = []
    for name in dtype.names:
        element, offset, *titles = dtype.fields[name]  # type: ignore[index]
        inner = encode_dtype(element)
        title = titles[0] if titles else None
        if inner is NotImplemented or not isinstance(title, str | None):
            return NotImplemented
        fields.append([name, title, inner, offset])
    return ["struct", dtype.itemsize, dtype.isalignedstruct, dtype.type is np.record, fields]


def decode_dtype(tree: Tree, depth: int = 0) -> np.dtype[Any]:
    """The inverse. May raise anything on a hostile tree; never gives a dtype that holds objects."""
    if depth > _MAX_DEPTH:
        raise CorruptData(f"dtype nested more than {_MAX_DEPTH} levels deep")
    if type(tree) is str:
        dtype = np.dtype(tree)
    elif tree[0] == "sub":
        dtype = np.dtype((decode_dtype(tree[1], depth + 1), tuple(tree[2])))
    elif tree[0] == "struct":
        _, itemsize, aligned, is_record, fields = tree
        dtype = np.dtype(
            {
                "names": [field[0] for field in fields],
                "titles": [field[1] for field in fields],
                "formats": [decode_dtype(field[2], depth + 1) for field in fields],
                "offsets": [field[3] for field in fields],
                "itemsize": itemsize,
            },
            align=bool(aligned),
        )
        if is_record:
            dtype = np.dtype((np.record, dtype))
    else:
        raise CorruptData(f"unknown dtype {tree!r:.60}")
    if dtype.hasobject:
        raise CorruptData(f"dtype {dtype!r:.60} holds objects, which are never stored as raw bytes")
    return dtype
