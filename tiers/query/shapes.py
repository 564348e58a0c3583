"""The shape of a metadata dictionary: which fields it has, in which order and nesting.

Rows of one shape share it, as objects do in a JavaScript engine. So a row costs one number instead of
its field names, reading a row back looks only at the columns that it has, and whether a field exists
is a question to the shapes instead of to the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...errors import InvalidType, InvalidValue
from .values import INT, INT64_MAX, INT64_MIN, KIND_OF_TYPE, MAX_DEPTH, TEXT, check_name, encode_scalar

MAX_FIELDS: Final = 10_000

Trail = str | tuple[str, ...]
"""Where a leaf sits in the caller's dictionary: a field name, or the names down to it."""

Cell = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """``trails`` as the caller nested them, ``paths`` dotted, ``parents`` those of the dictionaries."""

    code: int
    trails: tuple[Trail, ...]
    paths: tuple[str, ...]
    parents: frozenset[str]

    @staticmethod
    def build(code: int, trails: tuple[Trail, ...]) -> Shape:
        """Raises `InvalidValue` if two leaves have the same dotted path, or one lies inside another."""
        paths = tuple(trail if isinstance(trail, str) else ".".join(trail) for trail in trails)
        parents: set[str] = set()
        for path in paths:
            while "." in path:
                path = path.rpartition(".")[0]
                parents.add(path)
        if len(set(paths)) < len(paths) or not parents.isdisjoint(paths):
            clash = sorted({path for path in paths if paths.count(path) > 1} | parents.intersection(paths))
            raise InvalidValue(
                f"metadata fields {clash} appear twice: a dot in a field name means nesting, "
                "so {'a.b': 1} and {'a': {'b': 2}} are the same field"
            )
        return Shape(code, trails, paths, frozenset(parents))

    def assemble(self, values: list[Any]) -> dict[str, Any]:
        """The dictionary with these leaves, nested as it was stored."""
        document: dict[str, Any] = {}
        for trail, value in zip(self.trails, values, strict=True):
            if isinstance(trail, str):
                document[trail] = value
                continue
            inner = document
            for name in trail[:-1]:
                inner = inner.setdefault(name, {})
            inner[trail[-1]] = value
        return document


def flatten(metadata: Mapping[str, Any]) -> tuple[tuple[Trail, ...], list[Cell]]:
    """Leaves of a metadata dictionary and their cells, fully checked; nothing is remembered.

    Field names are checked only where they are nested: those of the first level are checked once a
    shape, by `check_trails`.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidType(f"metadata is a dictionary, not a {type(metadata).__name__}: {metadata!r}")
    cells: list[Cell] = []
    nested = False
    for name, value in metadata.items():
        if type(name) is not str:
            check_name(name, str(name))
        kind = KIND_OF_TYPE.get(type(value))
        if kind is None:
            if isinstance(value, Mapping) and value:
                nested = True
                break
            cells.append(encode_scalar(value, str(name)))
        elif kind == TEXT and not value.isascii():
            cells.append(encode_scalar(value, str(name)))
        elif kind >= INT and (kind != INT or INT64_MIN <= value <= INT64_MAX):
            cells.append((kind, value))
        else:
            cells.append(encode_scalar(value, str(name)))
    if not nested:
        return tuple(metadata), cells
    trails: list[Trail] = []
    cells.clear()
    _flatten_into(metadata, (), trails, cells)
    return tuple(trails), cells


def _flatten_into(
    fields: Mapping[str, Any], above: tuple[str, ...], trails: list[Trail], cells: list[Cell]
) -> None:
    if len(above) > MAX_DEPTH:
        raise InvalidValue(
            f"metadata nests deeper than {MAX_DEPTH} levels at {'.'.join(above)[:80]!r}; flatten it"
        )
    for name, value in fields.items():
        trail = (*above, check_name(name, ".".join(above) or str(name)))
        if isinstance(value, Mapping) and value:
            _flatten_into(value, trail, trails, cells)
        else:
            trails.append(trail if above else name)
            cells.append(encode_scalar(value, ".".join(trail)))


def check_trails(trails: tuple[Trail, ...]) -> None:
    """Raise `InvalidType` or `InvalidValue` for names that metadata fields cannot have."""
    for trail in trails:
        for name in (trail,) if isinstance(trail, str) or not isinstance(trail, tuple) else trail:
            check_name(name, str(trail))


def check_fields(metadata: Mapping[str, Any]) -> None:
    """Raise `InvalidType` or `InvalidValue` for metadata that no index could hold, full or empty."""
    trails, _ = flatten(metadata)
    check_trails(trails)
    check_count(Shape.build(0, trails))


def check_count(shape: Shape) -> None:
    """Raise `InvalidValue` where one metadata dictionary has more fields than all may have together."""
    if len(shape.paths) > MAX_FIELDS:
        raise InvalidValue(
            f"metadata of {len(shape.paths)} fields, of which {shape.paths[MAX_FIELDS]!r} would be number "
            f"{MAX_FIELDS + 1}: put what is so much into the value"
        )
