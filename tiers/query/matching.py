"""One test of one value, in Python: what a test means, used where values are not in columns.

The columns ask it once for every *distinct* list, and `matches` for a single dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .filters import And, Compares, Equals, Exists, Filter, MatchesRegex, Not, Or, Test, parse_filter
from .values import bracket_of, copy_value, freeze, orderable


class _Absent:
    """The answer of a path that leads nowhere; None and missing are equal, but only one exists."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


def matches(metadata: Mapping[str, Any], metadata_filter: Mapping[str, Any] | None) -> bool:
    """Whether one metadata dictionary satisfies a filter (see `filters` for the language).

    Raises `InvalidValue` or `InvalidType` for a bad filter or a value that metadata cannot hold.
    """
    return _matches(nest(metadata), parse_filter(metadata_filter))


def _matches(document: Mapping[str, Any], node: Filter) -> bool:
    match node:
        case And(parts):
            return all(_matches(document, part) for part in parts)
        case Or(parts):
            return any(_matches(document, part) for part in parts)
        case Not(part):
            return not _matches(document, part)
        case _:
            return test_any(resolve(document, node.path.split(".")), node.test)


def nest(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A checked deep copy in which a dot in a field name has become nesting."""
    nested: dict[str, Any] = {}
    for name, value in metadata.items():
        *parents, leaf = name.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        copy = nest(value) if isinstance(value, Mapping) else copy_value(value, name)
        if isinstance(copy, dict) and isinstance(inner.get(leaf), dict):
            inner[leaf].update(copy)
        else:
            inner[leaf] = copy
    return nested


def resolve(value: Any, parts: list[str]) -> Iterator[Any]:
    """Every value that a dotted path reaches, `ABSENT` for each branch that ends before the path does.

    A list on the way stands for each dictionary in it; a numeric part may also pick an element.
    """
    if not parts:
        yield value
    elif isinstance(value, Mapping):
        if parts[0] in value:
            yield from resolve(value[parts[0]], parts[1:])
        else:
            yield ABSENT
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, Mapping):
                yield from resolve(item, parts)
        if parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 10 and int(parts[0]) < len(value):
            yield from resolve(value[int(parts[0])], parts[1:])
    else:
        yield ABSENT


def test_any(values: Iterator[Any], test: Test) -> bool:
    """Whether a value, or an element of one that is a list, passes the test."""
    for value in values:
        if test_one(value, test):
            return True
        if isinstance(value, (list, tuple)) and any(test_one(item, test) for item in value):
            return True
    return False


def test_one(value: Any, test: Test) -> bool:
    """Whether one value passes the test, taken as a whole."""
    match test:
        case Exists():
            return value is not ABSENT
        case Equals():
            return freeze(None if value is ABSENT else value) in test.frozen
        case Compares(side, operand):
            return compare(value, side, operand)
        case MatchesRegex(pattern):
            return isinstance(value, str) and regex_found(pattern, value)


def compare(value: Any, side: str, operand: Any) -> bool:
    """``value`` on one side of ``operand``, false across brackets; NaN and None equal only themselves."""
    if operand is None:
        return side in ("gte", "lte") and (value is None or value is ABSENT)
    bracket = bracket_of(operand)
    if not bracket:  # NaN
        return side in ("gte", "lte") and isinstance(value, float) and value != value
    if value is ABSENT or bracket_of(value) != bracket:
        return False
    left, right = orderable(value), orderable(operand)
    match side:
        case "gt":
            return bool(left > right)
        case "gte":
            return bool(left >= right)
        case "lt":
            return bool(left < right)
        case _:
            return bool(left <= right)


def regex_found(pattern: str, text: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.match_substring_regex(pa.array([text], pa.large_string()), pattern)[0].as_py())
