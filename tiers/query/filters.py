"""The filter language: MongoDB's dictionaries, parsed and checked before anything is looked at.

``{"location": "Oslo", "date": {"$gte": "2025-01-01"}}`` asks for both; ``$and``, ``$or``, ``$nor`` and
``$not`` combine filters; the operators of a field are ``$eq $ne $gt $gte $lt $lte $in $nin $exists
$regex`` (with ``$options`` of ``i m s``) and ``$not``. A dotted path reaches into dictionaries and into
dictionaries in lists.

As in MongoDB: a list matches if it is equal or one of its elements matches; None matches a missing
field as well; values of different types are never equal or ordered (so ``True`` is not ``1``); ``$ne``,
``$nin`` and ``$not`` are true wherever their opposite is not. Different from MongoDB, on purpose:

- ``{"$not": filter}`` is allowed at the top as well.
- The order of a dictionary's fields does not matter for equality.
- A field name that contains a dot is the same as nesting.
- ``$regex`` is RE2, which takes time linear in the text whatever the pattern: no pattern can hang the
  caller, and look-around and back-references are refused.
- Only numbers, text, bytes, bools, datetimes and None can be ordered by ``$gt`` and its kin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np

from ...errors import InvalidType, InvalidValue
from .values import MAX_DEPTH, Frozen, check_name, copy_value, freeze

Comparison = Literal["gt", "gte", "lt", "lte"]


@dataclass(frozen=True)
class Equals:
    """True where the value equals one of ``values`` (``$eq`` has one, ``$in`` any number).

    ``frozen`` holds what `values.freeze` makes of them, so that a test costs one look into a set.
    """

    values: tuple[Any, ...]
    frozen: frozenset[Frozen] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frozen", frozenset(map(freeze, self.values)))


@dataclass(frozen=True)
class Compares:
    """True where the value lies in the bracket of ``value`` and on the given side of it."""

    side: Comparison
    value: Any


@dataclass(frozen=True)
class MatchesRegex:
    """True where the value is text in which ``pattern`` (RE2, options included) is found."""

    pattern: str


@dataclass(frozen=True)
class Exists:
    """True where the field is there, even if it is None."""


Test = Equals | Compares | MatchesRegex | Exists


@dataclass(frozen=True)
class FieldTest:
    """One positive test of one path. Negative operators are a `Not` around it."""

    path: str
    test: Test


@dataclass(frozen=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    part: Filter


Filter = FieldTest | And | Or | Not

MATCH_ALL: Final = And(())
_COMPARISONS: Final[dict[str, Comparison]] = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_FIELD_OPERATORS: Final = (
    "$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $options $not"  # in the order of the documentation
)
_TOP_OPERATORS: Final = "$and $or $nor $not"


def parse_filter(metadata_filter: Mapping[str, Any] | None) -> Filter:
    """Check a filter dictionary and return its tree. None and ``{}`` match everything.

    Raises `InvalidType` where something is not of the type that the language has there, and
    `InvalidValue` for unknown operators, bad patterns, empty ``$and`` lists and nesting beyond 32 levels.
    """
    if metadata_filter is None:
        return MATCH_ALL
    return _parse_filter(metadata_filter, 0)


def _parse_filter(source: object, depth: int) -> Filter:
    if not isinstance(source, Mapping):
        raise InvalidType(f"a metadata filter is a dictionary, not a {type(source).__name__}: {source!r}")
    if depth > MAX_DEPTH:
        raise InvalidValue(f"the metadata filter nests deeper than {MAX_DEPTH} levels")
    parts: list[Filter] = []
    for name, operand in source.items():
        if not isinstance(name, str):
            raise InvalidType(f"field names in a filter are strings, not {type(name).__name__}: {name!r}")
        if name.startswith("$"):
            parts.append(_parse_combination(name, operand, depth))
        else:
            check_name(name, name)
            parts.append(_parse_field(name, operand, depth))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_combination(operator: str, operand: object, depth: int) -> Filter:
    if operator == "$not":
        return Not(_parse_filter(operand, depth + 1))
    if operator not in ("$and", "$or", "$nor"):
        hint = "it belongs inside a field" if operator in _FIELD_OPERATORS.split() else "it does not exist"
        raise InvalidValue(
            f"{operator!r} cannot stand here ({hint}); outside of fields there are {_TOP_OPERATORS}"
        )
    if not isinstance(operand, (list, tuple)):
        raise InvalidType(f"{operator} takes a list of filters, not a {type(operand).__name__}: {operand!r}")
    if not operand:
        raise InvalidValue(f"{operator} takes a list of at least one filter, and got an empty one")
    parts = tuple(_parse_filter(part, depth + 1) for part in operand)
    if operator == "$and":
        return And(parts)
    return Or(parts) if operator == "$or" else Not(Or(parts))


def _parse_field(path: str, operand: object, depth: int) -> Filter:
    if isinstance(operand, re.Pattern):
        return FieldTest(path, _regex(path, operand, None))
    if not (
        isinstance(operand, Mapping) and any(isinstance(name, str) and name[:1] == "$" for name in operand)
    ):
        return FieldTest(path, Equals((_operand(path, operand),)))
    if depth > MAX_DEPTH:
        raise InvalidValue(f"the metadata filter nests deeper than {MAX_DEPTH} levels at {path!r}")
    parts = [
        _parse_operator(path, name, argument, operand, depth)
        for name, argument in operand.items()
        if name != "$options"
    ]
    if "$options" in operand and "$regex" not in operand:
        raise InvalidValue(f"field {path!r} has $options without $regex")
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_operator(
    path: str, operator: Any, argument: Any, siblings: Mapping[Any, Any], depth: int
) -> Filter:
    match operator:
        case "$eq":
            return FieldTest(path, Equals((_operand(path, argument),)))
        case "$ne":
            return Not(FieldTest(path, Equals((_operand(path, argument),))))
        case "$in":
            return _parse_in(path, operator, argument)
        case "$nin":
            return Not(_parse_in(path, operator, argument))
        case "$gt" | "$gte" | "$lt" | "$lte":
            value = _operand(path, argument)
            if not (value is None or isinstance(value, (bool, int, float, str, bytes, date))):
                raise InvalidType(
                    f"{operator} of field {path!r} takes a number, text, bytes, bool, datetime or None, "
                    f"not a {type(value).__name__}"
                )
            return FieldTest(path, Compares(_COMPARISONS[operator], value))
        case "$exists":
            if not isinstance(argument, (bool, int, np.bool_)):
                raise InvalidType(f"$exists of field {path!r} takes True or False, not {argument!r}")
            return FieldTest(path, Exists()) if argument else Not(FieldTest(path, Exists()))
        case "$regex":
            return FieldTest(path, _regex(path, argument, siblings.get("$options")))
        case "$not":
            if not isinstance(argument, (Mapping, re.Pattern)):
                raise InvalidType(f"$not of field {path!r} takes operators or a pattern, not {argument!r}")
            if isinstance(argument, Mapping) and not any(
                isinstance(name, str) and name.startswith("$") for name in argument
            ):
                raise InvalidValue(
                    f"$not of field {path!r} takes operators such as {{'$gt': 5}}, not {argument!r}"
                )
            return Not(_parse_field(path, argument, depth + 1))
    raise InvalidValue(
        f"unknown operator {operator!r} for field {path!r}; the operators are {_FIELD_OPERATORS} "
        "(reach a nested field with a dotted path)"
    )


def _parse_in(path: str, operator: str, argument: object) -> Filter:
    if isinstance(argument, np.ndarray):
        argument = argument.tolist()
    if isinstance(argument, (set, frozenset)):
        argument = tuple(argument)
    if not isinstance(argument, Sequence) or isinstance(argument, (str, bytes)):
        raise InvalidType(
            f"{operator} of field {path!r} takes a list, not a {type(argument).__name__}: {argument!r}"
        )
    plain = tuple(_operand(path, value) for value in argument if not isinstance(value, re.Pattern))
    patterns = [
        FieldTest(path, _regex(path, value, None)) for value in argument if isinstance(value, re.Pattern)
    ]
    equals = FieldTest(path, Equals(plain))
    return Or((equals, *patterns)) if patterns else equals


def _operand(path: str, value: Any) -> Any:
    """A private copy of an operand, with NumPy scalars as plain ones."""
    return copy_value(value, path)


def _regex(path: str, pattern: object, options: object) -> MatchesRegex:
    flags = options
    if isinstance(pattern, re.Pattern):
        if flags is None:
            flags = "".join(
                letter for letter, flag in (("i", re.I), ("m", re.M), ("s", re.S)) if pattern.flags & flag
            )
            if pattern.flags & re.X:
                raise InvalidValue(f"the pattern of field {path!r} uses re.VERBOSE, which RE2 does not have")
        pattern = pattern.pattern
    if not isinstance(pattern, str):
        raise InvalidType(f"$regex of field {path!r} takes text or a compiled text pattern, not {pattern!r}")
    if flags is None:
        flags = ""
    if not isinstance(flags, str) or not set(flags) <= set("ims"):
        raise InvalidValue(f"$options of field {path!r} may hold the letters i, m and s, not {flags!r}")
    full = f"(?{''.join(sorted(set(flags)))}){pattern}" if flags else pattern
    _check_pattern(path, full)
    return MatchesRegex(full)


@lru_cache(maxsize=256)
def _check_pattern(path: str, pattern: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""], pa.large_string()), pattern)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise InvalidValue(f"$regex of field {path!r} is not a valid RE2 pattern: {error}") from None
