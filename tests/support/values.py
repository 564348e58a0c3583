"""Values of every kind that the codec must bring back as they were, by name."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

_TORCH_DTYPES = [
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
    *("complex32", "complex64", "complex128", "int8", "int16", "int32", "int64", "bool"),
    *("uint8", "uint16", "uint32", "uint64"),
]

_GENERATOR = np.random.default_rng(7)


def numpy_values() -> dict[str, Any]:
    base = _GENERATOR.standard_normal((6, 5, 4))
    point = np.dtype([("x", "<f8"), ("name", "U4"), ("box", "<i2", (2, 2))])
    padded = np.dtype({"names": ["a", "b"], "formats": ["u1", ">i4"], "offsets": [1, 8], "itemsize": 16})
    aligned = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    values: dict[str, Any] = {
        f"dtype {code}": _GENERATOR.integers(0, 2, 7).astype(code)
        for code in [
            "?",
            "i1",
            "u2",
            ">i4",
            "<u8",
            "f2",
            ">f4",
            "f8",
            "g",
            "c8",
            ">c16",
            "G",
            "S3",
            "U5",
            ">U2",
        ]
    }
    values |= {
        "datetimes": np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
        "timedeltas": np.array([1, -5], dtype=">m8[25s]"),
        "generic datetime": np.array(["NaT"], dtype="M8"),
        "void": np.frombuffer(b"abcdef", dtype="V3"),
        "structured": np.zeros(3, dtype=point),
        "padded fields": np.zeros(3, dtype=padded),
        "aligned fields": np.ones((2, 2), dtype=aligned),
        "titled": np.zeros(2, dtype=[(("the title", "a"), "i4")]),
        "recarray": np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        "0-d": np.array(3.5),
        "empty": np.empty((0, 3)),
        "empty rows": np.empty((3, 0), dtype="i4"),
        "zero width": np.zeros(3, dtype="V0"),
        "fortran": np.asfortranarray(base),
        "transposed": base.transpose(1, 2, 0),
        "strided": base[::2, 1:3],
        "reversed": base[::-1],
        "broadcast": np.broadcast_to(base[0], (3, 5, 4)),
        "read-only": np.frombuffer(bytes(range(64)), dtype="u1"),
        "nan payload": np.array([0x7FF0000000000001], dtype="u8").view("f8"),
        "large": _GENERATOR.standard_normal((64, 1024)),
        "strings": np.array(["a", "long " * 20, ""], dtype=np.dtypes.StringDType()),
        "strings with None": np.array([["a", None]], dtype=np.dtypes.StringDType(na_object=None)),
        "float64": np.float64(1.5),
        "float16": np.float16(-0.0),
        "longdouble": np.longdouble("1.1"),
        "int64": np.int64(-3),
        "bool_": np.bool_(True),
        "datetime64": np.datetime64("2020-01-01T00:00", "m"),
        "str_": np.str_("tail\0"),
        "empty str_": np.str_(""),
        "bytes_": np.bytes_(b"a\0"),
        "empty bytes_": np.bytes_(b""),
        "record": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
    }
    return values


def torch_values() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _TORCH_DTYPES:
        dtype = getattr(torch, name)
        content = torch.arange(24 * dtype.itemsize).remainder(2 if name == "bool" else 256).to(torch.uint8)
        values[f"torch {name}"] = content.view(dtype).reshape(2, 3, 4)
    base = torch.randn(2, 3, 4, 5)
    values |= {
        "channels last": base.to(memory_format=torch.channels_last),
        "permuted": base.permute(3, 0, 1, 2),
        "torch strided": base[:, ::2],
        "expanded": torch.ones(1, 3).expand(4, 3),
        "conjugated": torch.randn(3, dtype=torch.complex64).conj(),
        "torch 0-d": torch.tensor(2.5),
        "torch empty": torch.empty(0, 4),
        "requires grad": torch.ones(3, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "frozen parameter": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "state dict": torch.nn.Linear(3, 4).state_dict(),
    }
    return values


def arrow_values() -> dict[str, Any]:
    nested = pa.array([[1, 2], None, [], [3]] * 40)
    table = pa.table(
        {
            "i": pa.array([*range(159), None]),
            "f": pa.array(np.arange(160.0)),
            "b": pa.array([True, None] * 80),
            "s": pa.array(["text", None, "", "ü"] * 40),
            "ls": pa.array(["x"] * 160, pa.large_string()),
            "bin": pa.array([b"\0", b"ab"] * 80),
            "fixed": pa.array([b"abc"] * 160, pa.binary(3)),
            "when": pa.array([0, 1] * 80, pa.timestamp("ns", "Europe/Paris")),
            "money": pa.array([1, 2] * 80).cast(pa.decimal128(23, 2)),
            "list": nested,
            "vectors": pa.array([[1.0, 2.0]] * 160, pa.list_(pa.float32(), 2)),
            "struct": pa.array([{"a": 1, "b": "x"}, None] * 80),
            "map": pa.array([[("k", 1)], []] * 80, pa.map_(pa.string(), pa.int64())),
            "dictionary": pa.array(["u", "v"] * 80).dictionary_encode(),
            "null": pa.nulls(160),
        }
    ).replace_schema_metadata({"who": "me"})
    return {
        "table": table,
        "sliced table": table.slice(13, 100),
        "chunked table": pa.concat_tables([table.slice(0, 50), table.slice(50)]),
        "no columns": pa.table({}),
        "empty table": table.schema.empty_table(),
        "batch": table.to_batches()[0],
        "sliced batch": table.to_batches()[0].slice(9, 3),
        "array": pa.array([1.5, None, 2.5]),
        "sliced text": pa.array(["abc", "de", None, "f"] * 9).slice(10, 7),
        "sliced list": nested.slice(3, 20),
        "chunked array": pa.chunked_array([[1], [2, 3]]),
        "no chunks": pa.chunked_array([], pa.int8()),
        "schema": table.schema,
        "tensor type": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(3, 2, 2)),
    }


def pandas_values() -> dict[str, Any]:
    frame = pd.DataFrame(
        {
            "i": np.arange(200),
            "f": np.arange(200) / 3,
            "s": ["a", None] * 100,
            "o": pd.Series([1, "x"] * 100, dtype=object),
            "c": pd.Categorical(["u", None] * 100, categories=["v", "u"], ordered=True),
            "when": pd.date_range("2020", periods=200),
            "zoned": pd.date_range("2020", periods=200, tz="Europe/Paris", unit="ns"),
            "offset": pd.date_range("2020", periods=200, tz="+01:30"),
            "delta": pd.to_timedelta(np.arange(200), unit="s"),
            "Int64": pd.array([1, None] * 100, dtype="Int64"),
            "boolean": pd.array([True, None] * 100, dtype="boolean"),
            "Float32": pd.array([1.5, None] * 100, dtype="Float32"),
            "string": pd.array(["a", None] * 100, dtype="string"),
            "python": pd.array(["a", None] * 100, dtype=pd.StringDtype("python")),
            "arrow": pd.array([1, None] * 100, dtype="int32[pyarrow]"),
        }
    )
    frame.attrs = {"source": "here"}
    numbers = pd.DataFrame(np.arange(4000.0).reshape(1000, 4), columns=list("abcd"))
    return {
        "frame": frame,
        "numbers": numbers,
        "rows of a frame": numbers.iloc[3:10],
        "same labels": pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "empty frame": pd.DataFrame(),
        "no rows": frame.iloc[:0],
        "multi index": frame[["i", "f"]].set_index([pd.Index(["x", "y"] * 100, name="k"), frame["i"]]),
        "series": pd.Series([1.0, 2.0], index=["x", "y"], name=("a", 1)),
        "no duplicates": pd.Series([1], index=["x"]).set_flags(allows_duplicate_labels=False),
        "range index": pd.RangeIndex(3, 90, 4, name="r"),
        "datetime index": pd.date_range("2020", periods=5, freq="3h", tz="UTC", name="t"),
        "timedelta index": pd.timedelta_range("1s", periods=4),
        "object index": pd.Index(["a", 1, None], dtype=object),
        "categorical index": pd.CategoricalIndex(["a", "b"]),
        "float index": pd.Index([1.5, 2.5]),
    }


def plain_values() -> dict[str, Any]:
    return {
        "None": None,
        "bool": True,
        "int": -5,
        "int 64": 2**64 - 1,
        "big int": -(3**2000),
        "2**64": 2**64,
        "-2**63 - 1": -(2**63) - 1,
        "float": 0.1,
        "minus zero": -0.0,
        "nan": float("nan"),
        "complex": complex(float("inf"), -0.0),
        "text": "häßlich \N{GRINNING FACE}",
        "long text": "ü" * 5000,
        "long ASCII": "a" * 5000,
        "surrogate": "\udc80",
        "long surrogate": "\udc80" * 3000,
        "bytes": b"\0\xff",
        "long bytes": bytes(range(256)) * 40,
        "bytearray": bytearray(b"abc"),
        "memoryview": memoryview(np.arange(12.0)).cast("B").cast("d", (3, 4)),
        "empty memoryview": memoryview(b""),
        "strided memoryview": memoryview(bytes(range(20)))[::3],
        "empty list": [],
        "empty dict": {},
        "nest": {"a": [1, (2.5, {3, 4}), {"b": None}], (1, "t"): frozenset({"x"}), 5: b"bytes", None: True},
        "floats": [float(i) for i in range(500)],
        "ints": tuple(range(500)),
        "mixed numbers": [1, 2.5] * 100,
        "long ints": [2**70] * 100,
        "bools": [True] * 100,
        "many scalars": {f"key {i}": i / 3 for i in range(10_000)},
        "many arrays": [np.arange(i % 9) for i in range(1000)],
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "arrays in dicts": {"w": np.arange(5000.0), "b": {"c": np.ones((3, 3), "f4")}},
        "one key": {"True": {"is": [{"not": 1}]}},
    }


def all_values() -> dict[str, Any]:
    return numpy_values() | torch_values() | arrow_values() | pandas_values() | plain_values()
