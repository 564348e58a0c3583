"""Values as one document: pickle, msgpack or JSON, for those who want to read them with other tools.

Every value that the codec takes comes back as it was from msgpack and JSON too: what the format knows
is written in its own terms, and the rest (arrays, tensors, tables, tuples) as tagged parts. The codec
itself is faster than any of these, since it copies nothing; a document is for interchange.
"""

from __future__ import annotations

import base64
import json
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from ..errors import InvalidType
from .codec import decode, encode

FORMATS = ("pickle", "msgpack", "json")

Frames = tuple[memoryview, ...]

_TAG = "$"
"""First letter of the names that JSON documents use for what JSON does not know."""

_INT64 = range(-(2**63), 2**64)


@dataclass(frozen=True, slots=True)
class Format:
    """How a value becomes frames (the document first) and is read back."""

    name: str
    dump: Callable[[Any], Frames]
    load: Callable[[Sequence[memoryview]], Any]


def _dump_pickle(value: Any) -> Frames:
    buffers: list[pickle.PickleBuffer] = []
    try:
        document = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise InvalidType(f"a {type(value).__name__} cannot be pickled: {error}") from error
    return (memoryview(document), *(buffer.raw() for buffer in buffers))


def _load_pickle(frames: Sequence[memoryview]) -> Any:
    return pickle.loads(frames[0], buffers=frames[1:])


# msgpack: extension types for what it does not know. Tuples are told from lists.

_EXT_CODEC, _EXT_TUPLE, _EXT_PAIRS = 1, 2, 3


def _dump_msgpack(value: Any) -> Frames:
    return (memoryview(_pack(value)),)


def _pack(value: Any) -> bytes:
    packed = msgpack.packb(
        value, default=_to_ext, strict_types=True, use_bin_type=True, unicode_errors="surrogatepass"
    )
    return bytes(packed)


def _to_ext(value: Any) -> msgpack.ExtType:
    if type(value) is tuple:
        return msgpack.ExtType(_EXT_TUPLE, _pack(list(value)))
    encoded = encode(value)
    return msgpack.ExtType(_EXT_CODEC, _pack([encoded.header, *map(bytes, encoded.buffers)]))


def _from_ext(code: int, packed: bytes) -> Any:
    content = _unpack(packed)
    if code == _EXT_TUPLE:
        return tuple(content)
    header, *buffers = content
    return decode(header, [memoryview(buffer) for buffer in buffers], allow_pickle=True)


def _load_msgpack(frames: Sequence[memoryview]) -> Any:
    return _unpack(frames[0])


def _unpack(packed: bytes | memoryview) -> Any:
    return msgpack.unpackb(
        packed,
        ext_hook=_from_ext,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        max_ext_len=2**32 - 1,
        max_bin_len=2**32 - 1,
    )


# JSON: what it does not know is an object with one name that starts with "$".


def _dump_json(value: Any) -> Frames:
    document = json.dumps(_to_json(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return (memoryview(document.encode("ascii")),)


def _to_json(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str or (kind is int and value in _INT64):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is list:
        return [_to_json(item) for item in value]
    if kind is tuple:
        return {"$tuple": [_to_json(item) for item in value]}
    if kind is bytes:
        return {"$bytes": _base64(value)}
    if kind is dict:
        if all(type(name) is str and not name.startswith(_TAG) for name in value):
            return {name: _to_json(item) for name, item in value.items()}
        return {"$pairs": [[_to_json(name), _to_json(item)] for name, item in value.items()]}
    encoded = encode(value)
    return {"$value": [_base64(encoded.header), *map(_base64, encoded.buffers)]}


def _load_json(frames: Sequence[memoryview]) -> Any:
    return _from_json(json.loads(bytes(frames[0])))


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, content),) = value.items()
        match name:
            case "$float":
                return float(content)
            case "$tuple":
                return tuple(_from_json(item) for item in content)
            case "$bytes":
                return base64.b64decode(content)
            case "$pairs":
                return {_from_json(key): _from_json(item) for key, item in content}
            case "$value":
                header, *buffers = map(base64.b64decode, content)
                return decode(header, [memoryview(buffer) for buffer in buffers], allow_pickle=True)
    return {name: _from_json(item) for name, item in value.items()}


def _base64(content: bytes | memoryview) -> str:
    return base64.b64encode(content).decode("ascii")


_FORMATS = {
    "pickle": Format("pickle", _dump_pickle, _load_pickle),
    "msgpack": Format("msgpack", _dump_msgpack, _load_msgpack),
    "json": Format("json", _dump_json, _load_json),
}


def format_named(name: str) -> Format:
    """The format of one of the `FORMATS`."""
    return _FORMATS[name]
