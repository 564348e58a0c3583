"""What a metadata value may be, and how values compare.

Values are None, bool, int, float, str, bytes, datetime, date, NumPy scalars of these, and lists,
tuples and dictionaries of them. Values of different brackets (a number and a string, a bool and a
number) are never equal and never ordered; ints and floats are one bracket and compare exactly.
A datetime without a zone counts as UTC, a date as its midnight.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np

from ...errors import InvalidType, InvalidValue

# The kind of a cell in a column; scalars up to DATE fit into the 64 bits beside the kind.
MISSING: Final = 0
NULL: Final = 1
FALSE: Final = 2
TRUE: Final = 3
INT: Final = 4
FLOAT: Final = 5
TEXT: Final = 6
TIME: Final = 7  # datetime without a zone, in microseconds since 1970
TIME_UTC: Final = 8  # datetime whose zone is exactly UTC
DATE: Final = 9
OBJECT: Final = 10  # lists, empty dicts, bytes, huge ints, datetimes of other zones: a code of a dictionary

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
MAX_DEPTH: Final = 32

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)

KIND_OF_TYPE: Final[dict[type, int]] = {type(None): NULL, bool: FALSE, int: INT, float: FLOAT, str: TEXT}

Frozen = Hashable
"""A hashable stand-in for a value: equal exactly where the values are equal in their bracket."""


def microseconds_since_epoch(moment: date) -> int:
    """Where a datetime or a date lies on one time line (see the module's text)."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    elif moment.tzinfo is not None:
        # A moment at the edge of the calendar may have no UTC form, so the offset is applied as a number.
        offset = moment.utcoffset() or timedelta(0)
        return (moment.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND
    return (moment - _EPOCH) // _MICROSECOND


def moment_from_microseconds(kind: int, microseconds: int) -> date:
    """The inverse of `microseconds_since_epoch` for the kinds TIME, TIME_UTC and DATE."""
    moment = _EPOCH + microseconds * _MICROSECOND
    if kind == DATE:
        return moment.date()
    return moment.replace(tzinfo=UTC) if kind == TIME_UTC else moment


def encode_scalar(value: Any, path: str) -> tuple[int, Any]:
    """The kind of ``value`` and what the column keeps: an int, a float, a str, or for OBJECT a pair
    of the frozen form and a private copy.

    Raises `InvalidType` for a type that metadata cannot hold and `InvalidValue` for text that is not
    valid Unicode or nesting beyond 32 levels; ``path`` names the field in the message.
    """
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case None:
            return NULL, 0
        case bool():
            return (TRUE if value else FALSE), 0
        case int() if INT64_MIN <= value <= INT64_MAX:
            return INT, int(value)
        case float():
            return FLOAT, float(value)
        case str():
            return TEXT, check_text(str(value), path)
        case datetime() if value.tzinfo is None or value.tzinfo is UTC:
            kind = TIME if value.tzinfo is None else TIME_UTC
            # fold has no place in 64 bits, and matters only to zones that we do not have here
            return kind, microseconds_since_epoch(value)
        case date() if not isinstance(value, datetime):
            return DATE, microseconds_since_epoch(value)
        case _:
            copy = copy_value(value, path)
            return OBJECT, (_typed(copy), copy)


def check_text(text: str, path: str) -> str:
    """Return ``text``, or raise `InvalidValue` if it holds half of a surrogate pair."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(
                f"metadata field {path!r} holds text that is not valid Unicode "
                f"({error.reason} at {error.start}); store such bytes as bytes"
            ) from None
    return text


def copy_value(value: Any, path: str, depth: int = 0) -> Any:
    """A deep copy of plain types that the caller can no longer change; validates on the way."""
    if depth > MAX_DEPTH:
        raise InvalidValue(f"metadata field {path!r} nests deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return check_text(str(value), path)
    if value is None or isinstance(value, (bool, int, float, bytes, date)):
        return value
    if isinstance(value, (list, tuple)):
        copies = [copy_value(item, path, depth + 1) for item in value]
        return copies if isinstance(value, list) else tuple(copies)
    if isinstance(value, Mapping):
        for name in value:
            if "." in check_name(name, path):
                raise InvalidValue(
                    f"{name!r} inside the list {path!r} has a dot, which means nesting; "
                    "nest the dictionary instead"
                )
        return {name: copy_value(item, f"{path}.{name}", depth + 1) for name, item in value.items()}
    raise InvalidType(
        f"metadata field {path!r} is a {type(value).__name__}; metadata holds None, bool, int, float, str, "
        "bytes, datetime, date, and lists and dictionaries of these"
    )


def check_name(name: object, path: str) -> str:
    """Return a field name, or raise: names are non-empty text without a leading ``$`` or an empty part."""
    if not isinstance(name, str):
        raise InvalidType(
            f"metadata field names are strings, not {type(name).__name__} ({name!r} in {path!r})"
        )
    if name.startswith("$"):
        raise InvalidValue(
            f"{name!r} in {path!r} cannot name a metadata field: '$' begins operators, which stand directly "
            "inside a field (reach a nested field with a dotted path)"
        )
    if not all(name.split(".")):
        raise InvalidValue(
            f"{name!r} in {path!r} cannot name a metadata field: names are not empty and have no empty part "
            "between dots"
        )
    return check_text(name, name)


def _typed(value: Any) -> Frozen:
    """A hashable form that differs wherever type or content differ, so that interning keeps both."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(_typed(item) for item in value)
    if isinstance(value, dict):
        return "dict", tuple((name, _typed(item)) for name, item in value.items())
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, datetime):
        return "datetime", value.isoformat(), repr(value.tzinfo), value.fold
    return type(value).__name__, value


def freeze(value: Any) -> Frozen:
    """Equal for values that a query treats as equal; the order of a dictionary's fields does not matter."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or value is None:
        return ("bool", value) if value is not None else ("null",)
    if isinstance(value, (int, float)):
        return ("nan",) if value != value else ("number", value)
    if isinstance(value, (list, tuple)):
        return "list", tuple(freeze(item) for item in value)
    if isinstance(value, Mapping):
        return "dict", frozenset((name, freeze(item)) for name, item in value.items())
    if isinstance(value, date):
        return "time", microseconds_since_epoch(value)
    return type(value).__name__, value


def bracket_of(value: Any) -> str:
    """The bracket inside which a value can be ordered; "" where it cannot be ordered at all."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number" if value == value else ""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, date):
        return "time"
    return ""


def orderable(value: Any) -> Any:
    """A value of one bracket in a form that Python's ``<`` orders as a query does."""
    return microseconds_since_epoch(value) if isinstance(value, date) else value
