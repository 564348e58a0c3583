"""Values of every kind that a tier must give back as they were, and how to see that they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def assert_same(actual: Any, expected: Any) -> None:
    """The same type, dtype, shape and bytes, down to the leaves."""
    assert type(actual) is type(expected), (type(actual), type(expected))
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        if expected.dtype.hasobject:
            assert actual.tolist() == expected.tolist()
        else:
            assert actual.tobytes() == expected.tobytes()
    elif type(expected).__module__.partition(".")[0] == "torch":
        import torch

        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        assert actual.device == expected.device
        assert torch.equal(_bits(actual), _bits(expected))
    elif type(expected).__module__.partition(".")[0] in ("pandas", "pyarrow"):
        assert actual.equals(expected)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for got, value in zip(actual, expected, strict=True):
            assert_same(got, value)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(actual)
    else:
        assert actual == expected


def _bits(tensor: Any) -> Any:
    import torch

    return (
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.cpu()
    )


def _torch(make: Callable[[Any], Any]) -> Callable[[], Any]:
    def factory() -> Any:
        import torch

        return make(torch)

    return factory


def _table() -> Any:
    import pyarrow as pa

    return pa.table({"id": [1, 2, None], "name": ["a", None, "ccc"]})


def _frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"x": np.arange(4.0), "label": ["a", "b", "c", "d"]}, index=[3, 1, 4, 1])


VALUES: dict[str, Callable[[], Any]] = {
    "float32": lambda: np.arange(600, dtype=np.float32).reshape(20, 30),
    "float64 with nan": lambda: np.array([1.5, -0.0, math.nan, math.inf]),
    "int8": lambda: np.arange(-5, 5, dtype=np.int8),
    "bool": lambda: np.array([[True, False], [False, True]]),
    "complex64": lambda: np.array([1 + 2j, -3j], np.complex64),
    "datetime64": lambda: np.array(["2025-02-15", "NaT"], "datetime64[ns]"),
    "structured": lambda: np.array([(1, 2.5), (3, 4.5)], [("id", "<i4"), ("value", "<f8")]),
    "big endian": lambda: np.arange(5, dtype=">i4"),
    "0-d": lambda: np.array(7.25),
    "empty": lambda: np.empty((0, 3), np.float32),
    "fortran": lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "reversed": lambda: np.arange(10)[::-2],
    "text array": lambda: np.array(["a", "bcd", ""]),
    "tensor": _torch(lambda torch: torch.arange(24.0).reshape(2, 3, 4)),
    "tensor bfloat16": _torch(lambda torch: torch.linspace(-1, 1, 33).to(torch.bfloat16)),
    "tensor bool": _torch(lambda torch: torch.tensor([True, False])),
    "tensor 0-d": _torch(lambda torch: torch.tensor(3)),
    "tensor transposed": _torch(lambda torch: torch.arange(12).reshape(3, 4).t()),
    "arrow table": _table,
    "frame": _frame,
    "bytes": lambda: b"\x00\xff" * 2_000,
    "text": lambda: "na\u00efve \U0001f9e0\n\x00" * 3,
    "int": lambda: 42,
    "large int": lambda: 2**80,
    "float": lambda: -0.1,
    "nan": lambda: math.nan,
    "true": lambda: True,
    "none": lambda: None,
    "nested": lambda: {
        "a": [1, 2.5, "three", None, True],
        "b": {"c": (1, (2, 3)), "d": np.arange(3)},
        "e": [],
        "f": {},
        7: "a key that is a number",
        "$t": ["a key that looks like a tag"],
        "bytes": b"abc",
    },
    "numbers": lambda: [float(i) for i in range(1_000)],
    "tuple": lambda: (1, "two", 3.0),
    "state dict": _torch(
        lambda torch: {"w": torch.ones(3, 2), "step": 12, "b": torch.zeros(2, dtype=torch.float64)}
    ),
}
"""By name, a function that makes the value anew."""
