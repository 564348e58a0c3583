"""One form for all containers that are equal: whatever order their sets and mappings were built in.

A list of a form is a list that holds no containers, and every other container has become a tuple that
begins with its name: so two containers have one form only where they are the same.
"""

from __future__ import annotations

from typing import Any

from xxhash import xxh3_128

from ..errors import InvalidValue
from .codec import encode
from .codec.header import MAX_DEPTH

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})

_SORTED = frozenset({int, str, bytes})
"""Types whose values have a total order of their own."""


def canonical(value: Any) -> Any:
    """The form of a value: containers of exactly the types list, tuple, dict, set and frozenset are taken
    apart, and everything else stays as it is.

    Raises `InvalidValue` for a container that contains itself or is nested too deeply, and what `encode`
    raises for members of a set that have no order of their own.
    """
    return _form(value, ())


def _form(value: Any, above: tuple[int, ...]) -> Any:
    kind = type(value)
    if kind not in _CONTAINERS:
        return value
    holds_none = kind is not dict and _SCALARS.issuperset(map(type, value))
    if holds_none and kind is list:
        return value
    if holds_none and kind is tuple:
        return "plain", list(value)  # so that many numbers are one array to the codec
    if id(value) in above or len(above) >= MAX_DEPTH:
        raise InvalidValue(
            f"the {kind.__name__} contains itself, or is nested more than {MAX_DEPTH} levels deep"
        )
    above = (*above, id(value))
    if kind is list or kind is tuple:
        return kind.__name__, *(_form(item, above) for item in value)
    members = [_form(member, above) for member in value]
    order = _order(members)
    if kind is not dict:
        return kind.__name__, *(members[place] for place in order)
    flat: list[Any] = []
    items = list(value.values())
    for place in order:
        flat += (members[place], _form(items[place], above))
    return "dict", *flat


def _order(members: list[Any]) -> list[int]:
    """The places of the members of a set, or of the names of a mapping, in an order that they all share."""
    kinds = set(map(type, members))
    if len(kinds) == 1 and kinds <= _SORTED:
        return sorted(range(len(members)), key=members.__getitem__)
    return sorted(range(len(members)), key=list(map(_digest, members)).__getitem__)


def _digest(member: Any) -> bytes:
    encoded = encode(member)
    digest = xxh3_128(encoded.header)
    for buffer in encoded.buffers:
        digest.update(buffer)
    return digest.digest()
