"""Scalars, text, bytes and containers of Python itself."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import CorruptData
from .header import INLINE_LEAF_BYTES, Reference, Tree

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_MIN_INT, _MAX_INT = -(1 << 63), (1 << 64) - 1
"""What msgpack holds."""

_NUMBERS = 64
"""Lists of at least so many floats, or ints of 64 bits, are stored as one array of numbers."""

_NATIVE_FORMATS = "cbB?hHiIlLqQnNfd"


def encode_int(_: Writer, value: int) -> Tree:
    if _MIN_INT <= value <= _MAX_INT:
        return value
    return ["big", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]


def encode_str(writer: Writer, value: str) -> Tree:
    if len(value) <= INLINE_LEAF_BYTES // 4:
        return value
    content = value.encode("utf-8", "surrogatepass")
    return ["str", value.isascii(), len(content), writer.reference(memoryview(content))]


def encode_bytes(writer: Writer, value: bytes) -> Tree:
    if writer.nested and len(value) <= INLINE_LEAF_BYTES:
        return value
    return bytes_tree(len(value), writer.reference(memoryview(value)))


def bytes_tree(nbytes: int, reference: Reference) -> Tree:
    return ["bytes", nbytes, reference]


def encode_memoryview(writer: Writer, value: memoryview) -> Tree:
    code = value.format.removeprefix("@")
    if code not in _NATIVE_FORMATS or len(code) != 1:
        return NotImplemented
    flat = value.cast("B") if value.c_contiguous and value.nbytes else memoryview(value.tobytes())
    return ["memoryview", code, list(value.shape or ()), writer.reference(flat)]


def encode_sequence(tag: str) -> Callable[[Writer, Any], Tree]:
    def encode(writer: Writer, value: Any) -> Tree:
        if len(value) >= _NUMBERS and (numbers := _as_numbers(writer, tag, value)) is not None:
            return numbers
        with writer.inside(value):
            return [tag, *map(writer.node, value)]

    return encode


def encode_dict(writer: Writer, value: dict[Any, Any]) -> Tree:
    with writer.inside(value):
        return ["dict", *_pairs(writer, value)]


def encode_ordered_dict(writer: Writer, value: OrderedDict[Any, Any]) -> Tree:
    # A state_dict of torch is one of these, with an attribute that `load_state_dict` looks at.
    attributes = vars(value)
    if not attributes.keys() <= {"_metadata"}:
        return NotImplemented
    with writer.inside(value):
        return ["odict", writer.node(dict(attributes)), *_pairs(writer, value)]


def _pairs(writer: Writer, value: dict[Any, Any]) -> list[Tree]:
    flat: list[Tree] = []
    for key, item in value.items():
        flat.append(writer.node(key))
        flat.append(writer.node(item))
    return flat


def _as_numbers(writer: Writer, tag: str, value: Iterable[Any]) -> Tree:
    """One buffer for a list or tuple of floats, or of ints, which also makes its rows selectable."""
    if tag not in ("list", "tuple"):
        return None
    kinds = set(map(type, value))
    if kinds == {float}:
        array = np.array(value, dtype="<f8")
    elif kinds == {int}:
        try:
            array = np.array(value, dtype="<i8")
        except OverflowError:
            return None
    else:
        return None
    return ["numbers", tag, array.dtype.str, len(array), writer.reference(array.data.cast("B"))]


ENCODERS: dict[type, Callable[[Writer, Any], Tree]] = {
    type(None): lambda _, value: value,
    bool: lambda _, value: value,
    float: lambda _, value: value,
    int: encode_int,
    str: encode_str,
    complex: lambda _, value: ["complex", value.real, value.imag],
    bytes: encode_bytes,
    bytearray: lambda writer, value: ["bytearray", len(value), writer.reference(memoryview(value))],
    memoryview: encode_memoryview,
    list: encode_sequence("list"),
    tuple: encode_sequence("tuple"),
    set: encode_sequence("set"),
    frozenset: encode_sequence("frozenset"),
    dict: encode_dict,
    OrderedDict: encode_ordered_dict,
}
"""By exact type: a subclass is not its base, and comes back as itself only by pickle."""


def decode_big(_: Reader, content: bytes) -> int:
    return int.from_bytes(_expect(content, bytes), "little", signed=True)


def decode_complex(_: Reader, real: float, imaginary: float) -> complex:
    return complex(_expect(real, float), _expect(imaginary, float))


def decode_str(reader: Reader, is_ascii: bool, length: int, reference: Reference) -> str:
    return str(_sized(reader, length, reference), "ascii" if is_ascii else "utf-8", "surrogatepass")


def _sized(reader: Reader, length: int, reference: Reference) -> memoryview:
    view = reader.buffer(reference)
    if view.nbytes != length:
        raise CorruptData(f"{view.nbytes} bytes where {length!r:.20} should be")
    return view


def decode_memoryview(reader: Reader, code: str, shape: list[int], reference: Reference) -> memoryview:
    view = reader.buffer(reference)
    if len(_expect(code, str)) != 1 or code not in _NATIVE_FORMATS:
        raise CorruptData(f"memoryview of the unknown format {code!r:.20}")
    if not reader.writable:
        view = view.toreadonly()
    elif view.readonly:
        view = memoryview(bytearray(view))
    if math.prod(shape) == 0:  # which cast refuses
        return np.empty(shape, dtype=code if code != "c" else "S1").data
    return view.cast(code, shape) if len(shape) != 1 else view.cast(code)  # type: ignore[call-overload,no-any-return]


def decode_numbers(reader: Reader, tag: str, dtype: str, count: int, reference: Reference) -> Any:
    view = reader.buffer(reference)
    if tag not in ("list", "tuple") or dtype not in ("<f8", "<i8") or count * 8 != view.nbytes:
        raise CorruptData(f"{view.nbytes} bytes cannot be a {tag!r:.20} of {count!r:.20} {dtype!r:.20}")
    numbers = np.frombuffer(view, dtype=dtype).tolist()
    return numbers if tag == "list" else tuple(numbers)


def decode_dict(reader: Reader, *flat: Tree) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    _fill(result, reader, flat)
    return result


def decode_ordered_dict(reader: Reader, attributes: Tree, *flat: Tree) -> OrderedDict[Any, Any]:
    result: OrderedDict[Any, Any] = OrderedDict()
    extra = _expect(reader.value(attributes), dict)
    if not extra.keys() <= {"_metadata"}:
        raise CorruptData(f"an OrderedDict cannot have the attributes {sorted(map(str, extra))[:5]}")
    vars(result).update(extra)
    _fill(result, reader, flat)
    return result


def _fill(result: dict[Any, Any], reader: Reader, flat: tuple[Tree, ...]) -> None:
    if len(flat) % 2:
        raise CorruptData(f"a dict of {len(flat)} halves of pairs")
    value = reader.value
    for at in range(0, len(flat), 2):
        result[value(flat[at])] = value(flat[at + 1])
    if 2 * len(result) != len(flat):
        raise CorruptData(f"a dict of {len(flat) // 2} pairs has only {len(result)} different keys")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise CorruptData(f"codec tree holds a {type(value).__name__} where a {kind.__name__} should be")
    return value


DECODERS: dict[str, Callable[..., Any]] = {
    "big": decode_big,
    "complex": decode_complex,
    "str": decode_str,
    "bytes": lambda reader, length, reference: bytes(_sized(reader, length, reference)),
    "bytearray": lambda reader, length, reference: bytearray(_sized(reader, length, reference)),
    "memoryview": decode_memoryview,
    "numbers": decode_numbers,
    "list": lambda reader, *items: list(map(reader.value, items)),
    "tuple": lambda reader, *items: tuple(map(reader.value, items)),
    "set": lambda reader, *items: set(map(reader.value, items)),
    "frozenset": lambda reader, *items: frozenset(map(reader.value, items)),
    "dict": decode_dict,
    "odict": decode_ordered_dict,
}
