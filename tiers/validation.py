"""Checks on what callers hand to a tier, all made before anything changes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InvalidKey, InvalidType, InvalidValue
from .query.shapes import MAX_FIELDS, check_fields
from .query.values import check_name, check_text

MAX_KEY_BYTES = 65_535
"""Longest key, in UTF-8: what a 16-bit length field of a file format can say."""

_MAX_METADATA_DEPTH = 32
_DOTTED = MAX_FIELDS + 1
_INT64 = range(-(2**63), 2**64)


def check_key(key: object) -> str:
    """The key, if it can be one: a non-empty string of at most `MAX_KEY_BYTES` in UTF-8."""
    if not isinstance(key, str):
        raise InvalidKey(f"a key must be a string, not {type(key).__name__}: {key!r:.100}")
    if not key:
        raise InvalidKey("a key must not be empty")
    # Every character takes at least one byte and at most four: most keys need no encoding to be judged.
    if len(key) * 4 > MAX_KEY_BYTES:
        length = len(key.encode("utf-8", "surrogatepass"))
        if length > MAX_KEY_BYTES:
            raise InvalidKey(
                f"a key of {length} bytes in UTF-8 is longer than {MAX_KEY_BYTES}: {key[:40]!r}..."
            )
    # A plain str, whatever subclass came in: it is kept for as long as the value is.
    return key if type(key) is str else str.__str__(key)


def check_keys(keys: Iterable[object]) -> list[str]:
    """Every key of an iterable; a single string is refused, for it would be taken apart."""
    if isinstance(keys, str | bytes):
        raise InvalidType(f"several keys are expected, not one string: write [{keys!r:.60}]")
    return [check_key(key) for key in keys]


def check_prefix(prefix: object) -> str:
    """A prefix of keys; the empty one matches all."""
    if not isinstance(prefix, str):
        raise InvalidKey(f"a key prefix must be a string, not {type(prefix).__name__}")
    return prefix


def check_priority(priority: object) -> float:
    """A finite number: NaN would have no place in any order."""
    if isinstance(priority, bool) or not isinstance(priority, numbers.Real):
        raise InvalidType(f"priority must be a number, not {type(priority).__name__}")
    number = float(priority)
    if not math.isfinite(number):
        raise InvalidValue(f"priority must be finite, not {number}")
    return number


def check_ttl(ttl: object) -> float | None:
    """Seconds to live, above zero; None lives for ever."""
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, numbers.Real):
        raise InvalidType(f"ttl must be a number of seconds or None, not {type(ttl).__name__}")
    seconds = float(ttl)
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidValue(f"ttl must be a finite number of seconds above 0, not {seconds}")
    return seconds


def check_flag(name: str, flag: object) -> bool:
    """A real bool: a string such as "no" would be true."""
    if not isinstance(flag, bool):
        raise InvalidType(f"{name} must be True or False, not {flag!r:.60}")
    return flag


def check_capacity(name: str, capacity: object, *, optional: bool = True) -> int | None:
    """A byte budget above zero, or None for no budget where that is allowed."""
    if capacity is None:
        if not optional:
            raise InvalidType(f"{name} must be given")
        return None
    if isinstance(capacity, bool) or not isinstance(capacity, numbers.Real):
        raise InvalidType(f"{name} must be a number of bytes, not {type(capacity).__name__}")
    size = float(capacity)
    if not math.isfinite(size) or size < 1:
        raise InvalidValue(f"{name} must be at least one byte and finite, not {capacity}")
    return int(size)


def check_size_gb(name: str, size_gb: object) -> int:
    """A size in GB (10**9 bytes, as disks and GPUs are sold) as bytes."""
    if isinstance(size_gb, bool) or not isinstance(size_gb, numbers.Real):
        raise InvalidType(f"{name} must be a number of GB, not {type(size_gb).__name__}")
    gigabytes = float(size_gb)
    if not math.isfinite(gigabytes) or gigabytes * 10**9 < 1:
        raise InvalidValue(f"{name} must be above 0 and finite, not {size_gb}")
    return int(gigabytes * 10**9)


def check_choice(name: str, choice: object, choices: Iterable[str]) -> str:
    """One of a few words."""
    allowed = list(choices)
    if choice not in allowed:
        raise InvalidValue(f"{name} must be one of {', '.join(map(repr, allowed))}, not {choice!r:.60}")
    return str(choice)


def check_metadata(metadata: object) -> dict[str, Any]:
    """A deep copy of JSON-like metadata: a mapping from strings to None, bool, int, finite float, str,
    and lists and mappings of these. Tuples become lists, as they would in JSON.

    Names and texts that queries could not hold are refused here, and not by the first query.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidType(f"metadata must be a mapping, not {type(metadata).__name__}")
    copied: dict[str, Any] = {}
    fields = len(metadata)
    for name, value in metadata.items():
        if type(name) is not str or not name.isidentifier():
            name = _name(name, "metadata")
            if "." in name:
                fields = _DOTTED
        kind = type(value)
        if kind is int:
            needs_no_look = -(2**63) <= value < 2**63
        else:
            needs_no_look = value.isascii() if kind is str else kind is bool or value is None
        if needs_no_look:
            copied[name] = value
        else:
            copied[name] = item = _json_like(value, f"metadata.{name}", 1)
            if kind is not float:
                fields += _fields(item)
    if fields > MAX_FIELDS:
        check_fields(copied)
    return copied


def _fields(value: object) -> int:
    """About how many fields lie in a checked value; more than may be where a name has a dot, which takes
    a closer look."""
    if type(value) is dict:
        count = _DOTTED if any("." in name for name in value) else len(value)
        return count + sum(map(_fields, value.values()))
    return sum(map(_fields, value)) if type(value) is list else 0


def _name(name: object, path: str) -> str:
    # An identifier is no operator, has no dots and no halves of characters: most names are one.
    if type(name) is str and name.isidentifier():
        return name
    if not isinstance(name, str):
        raise InvalidType(f"{path} has the name {name!r:.60}; names in metadata are strings")
    return check_name(str.__str__(name), path)


def _json_like(value: object, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(str.__str__(value), path)
    if isinstance(value, int):
        if value not in _INT64:
            raise InvalidValue(f"{path} is an integer beyond 64 bits: {value}")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(f"{path} is {value}, which JSON cannot hold")
        return float(value)
    if depth >= _MAX_METADATA_DEPTH:
        raise InvalidValue(
            f"{path[:80]}... is nested deeper than {_MAX_METADATA_DEPTH} levels (or in a circle)"
        )
    if isinstance(value, Mapping):
        return {
            (checked := _name(name, path)): _json_like(item, f"{path}.{checked}", depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json_like(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise InvalidType(
        f"{path} is a {type(value).__name__}; metadata holds None, bool, int, float, str, and lists and "
        "mappings of these (convert NumPy scalars with .item(), dates with .isoformat())"
    )
