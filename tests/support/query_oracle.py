"""A slow judge of metadata queries: MongoDB's rules, one document at a time, apart from the library."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Any

MISSING = object()


def bracket(value: Any) -> str:
    if value is None or value is MISSING:
        return "null"
    for name, types in (
        ("bool", bool),
        ("number", (int, float)),
        ("text", str),
        ("bytes", bytes),
        ("list", (list, tuple)),
        ("dict", dict),
    ):
        if isinstance(value, types):
            return name
    return "time"


def on_time_line(value: Any) -> datetime:
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def equal(left: Any, right: Any) -> bool:
    kind = bracket(left)
    if kind != bracket(right):
        return False
    if kind == "null":
        return True
    if kind == "list":
        return len(left) == len(right) and all(map(equal, left, right))
    if kind == "dict":
        return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
    if kind == "time":
        return on_time_line(left) == on_time_line(right)
    return left == right or (left != left and right != right)


def ordered(left: Any, operator: str, right: Any) -> bool:
    if operator in ("$gte", "$lte") and equal(left, right):
        return True
    kind = bracket(left)
    if kind != bracket(right) or kind in ("null", "list", "dict"):
        return False
    if kind == "time":
        left, right = on_time_line(left), on_time_line(right)
    return left > right if operator in ("$gt", "$gte") else left < right


def reach(value: Any, names: list[str]) -> list[Any]:
    if not names:
        return [value]
    if isinstance(value, dict):
        return reach(value[names[0]], names[1:]) if names[0] in value else [MISSING]
    if isinstance(value, (list, tuple)):
        found = [one for item in value if isinstance(item, dict) for one in reach(item, names)]
        if names[0].isdecimal() and int(names[0]) < len(value):
            found += reach(value[int(names[0])], names[1:])
        return found
    return [MISSING]


def with_elements(values: list[Any]) -> list[Any]:
    return values + [item for value in values if isinstance(value, (list, tuple)) for item in value]


def field_passes(values: list[Any], operator: str, operand: Any) -> bool:
    spread = with_elements(values)
    match operator:
        case "$eq":
            return any(equal(value, operand) for value in spread)
        case "$ne":
            return not any(equal(value, operand) for value in spread)
        case "$in":
            return any(equal(value, one) for value in spread for one in operand)
        case "$nin":
            return not any(equal(value, one) for value in spread for one in operand)
        case "$gt" | "$gte" | "$lt" | "$lte":
            return any(ordered(value, operator, operand) for value in spread)
        case "$exists":
            return any(value is not MISSING for value in values) == bool(operand)
        case "$regex":
            return any(isinstance(value, str) and re.search(operand, value) is not None for value in spread)
        case "$not":
            return not all(field_passes(values, name, argument) for name, argument in operand.items())
    raise AssertionError(operator)


def passes(document: dict[str, Any], metadata_filter: dict[str, Any]) -> bool:
    for name, operand in metadata_filter.items():
        if name == "$and":
            answer = all(passes(document, part) for part in operand)
        elif name == "$or":
            answer = any(passes(document, part) for part in operand)
        elif name == "$nor":
            answer = not any(passes(document, part) for part in operand)
        elif name == "$not":
            answer = not passes(document, operand)
        else:
            values = reach(document, name.split("."))
            if isinstance(operand, dict) and any(key.startswith("$") for key in operand):
                answer = all(field_passes(values, key, argument) for key, argument in operand.items())
            else:
                answer = field_passes(values, "$eq", operand)
        if not answer:
            return False
    return True
