"""NumPy: arrays of every dtype and layout, and scalars.

Dense arrays keep the order of their axes (C, Fortran, any transposition) and are not copied; others
(strided slices, negative strides, broadcasts) come back in C order. `np.memmap` comes back as a plain
array, `np.recarray` as itself; other subclasses and object arrays are left to pickle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import CorruptData
from .dtypes import decode_dtype, encode_dtype
from .header import Reference, Tree
from .layout import Order, axis_order, inverse_order

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

Array = npt.NDArray[Any]


def encode_node(writer: Writer, value: Any) -> Tree:
    """The tree of an array or a scalar; NotImplemented for what only pickle can carry."""
    if isinstance(value, np.ndarray):
        return encode_array(writer, value)
    if isinstance(value, np.str_):
        # Not str(value), which strips zeros from the end.
        return ["text", str.__str__(value)] if type(value) is np.str_ else NotImplemented
    if isinstance(value, np.bytes_):
        return ["text", bytes.__getitem__(value, slice(None))] if type(value) is np.bytes_ else NotImplemented
    if isinstance(value, np.generic):
        dtype = encode_dtype(value.dtype)
        if dtype is NotImplemented:
            return NotImplemented
        return ["scalar", dtype, writer.reference(memoryview(value.tobytes()))]
    return NotImplemented


def encode_array(writer: Writer, array: Array) -> Tree:
    """["array", is recarray, dtype, shape, order of axes, reference]"""
    if type(array) not in (np.ndarray, np.memmap, np.recarray):
        return NotImplemented
    if isinstance(array.dtype, np.dtypes.StringDType):
        return _encode_strings(writer, array)
    dtype = encode_dtype(array.dtype)
    if dtype is NotImplemented:
        return NotImplemented
    plain = array.view(np.ndarray)
    order = axis_order(plain.shape, plain.strides)
    dense = plain.transpose(order) if order else plain
    if not dense.flags.c_contiguous:
        order, dense = [], np.ascontiguousarray(plain)
    is_recarray = type(array) is np.recarray
    return ["array", is_recarray, dtype, list(plain.shape), order, writer.reference(byte_view(dense))]


def byte_view(dense: Array) -> memoryview:
    """The memory of a C-contiguous array as bytes, whatever its dtype."""
    if dense.nbytes == 0:
        return memoryview(b"")
    # Through a uint8 view, because memoryview knows no datetime64, float16 on some versions, or fields.
    return dense.reshape(-1).view(np.uint8).data


def _encode_strings(writer: Writer, array: Array) -> Tree:
    """Variable-width strings: their memory is an arena of NumPy's own, so they are stored as text."""
    dtype: Any = array.dtype
    missing = "none"
    if hasattr(dtype, "na_object"):
        if dtype.na_object is None:
            missing = "None"
        elif isinstance(dtype.na_object, float) and math.isnan(dtype.na_object):
            missing = "nan"
        else:
            return NotImplemented
    items = [item if isinstance(item, str) else None for item in array.reshape(-1).tolist()]
    return ["strings", missing, bool(dtype.coerce), list(array.shape), writer.node(items)]


def decode_array(
    reader: Reader, is_recarray: bool, dtype: Tree, shape: list[int], order: Order, reference: Reference
) -> Array:
    array = as_array(reader, decode_dtype(dtype), shape, order, reference)
    return array.view(np.recarray) if is_recarray else array


def as_array(
    reader: Reader, dtype: np.dtype[Any], shape: list[int], order: Order, reference: Reference
) -> Array:
    """A view of a buffer; a copy where it should be writable and is not."""
    view = reader.buffer(reference)
    if any(type(length) is not int or length < 0 for length in shape):
        raise CorruptData(f"array of the impossible shape {shape!r:.60}")
    if math.prod(shape) * dtype.itemsize != view.nbytes:
        raise CorruptData(f"{view.nbytes} bytes cannot be a {dtype!r:.60} array of shape {shape!r:.60}")
    inverse = inverse_order(order, len(shape))
    stored_shape = [shape[axis] for axis in order] if order else shape
    dense: Array
    if view.nbytes == 0:  # nothing to be a view of
        dense = np.ndarray(stored_shape, dtype)
    else:
        if reader.writable and view.readonly:  # as bytes: a copy of an array leaves padding behind
            view = np.frombuffer(view, np.uint8).copy().data
        dense = np.ndarray(stored_shape, dtype, buffer=view)
    if not reader.writable:
        dense.flags.writeable = False
    return dense.transpose(inverse) if order else dense


def decode_scalar(reader: Reader, dtype: Tree, reference: Reference) -> Any:
    kind = decode_dtype(dtype)
    content = bytes(reader.buffer(reference))
    if len(content) != kind.itemsize:
        raise CorruptData(f"{len(content)} bytes cannot be a scalar of {kind!r:.60}")
    if not content:
        return np.zeros((), kind)[()]
    return np.ndarray((), kind, buffer=bytearray(content))[()]


def decode_strings(reader: Reader, missing: str, coerce: bool, shape: list[int], items: Tree) -> Array:
    arguments: dict[str, Any] = {"coerce": bool(coerce)}
    if missing != "none":
        arguments["na_object"] = {"None": None, "nan": math.nan}[missing]
    values = reader.value(items)
    if math.prod(shape) != len(values):
        raise CorruptData(f"{len(values)} strings cannot be an array of shape {shape!r:.60}")
    if missing == "nan":
        values = [math.nan if item is None else item for item in values]
    array: Array = np.array(values, dtype=np.dtypes.StringDType(**arguments)).reshape(shape)
    if not reader.writable:
        array.flags.writeable = False
    return array


def _decode_text(_: Reader, text: Any) -> np.str_ | np.bytes_:
    if type(text) is str:
        return np.str_(text)
    if type(text) is bytes:
        return np.bytes_(text)
    raise CorruptData(f"codec tree holds a {type(text).__name__} where text should be")


DECODERS: dict[str, Callable[..., Any]] = {
    "array": decode_array,
    "scalar": decode_scalar,
    "strings": decode_strings,
    "text": _decode_text,
}
