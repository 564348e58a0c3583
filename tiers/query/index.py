"""`MetadataIndex`: the metadata of many keys, kept in columns and asked by filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from ...errors import InvalidType, InvalidValue, KeyNotFound
from .column import Column
from .evaluate import Table
from .filters import parse_filter
from .shapes import MAX_FIELDS, Shape, Trail, check_count, check_trails, flatten
from .shared_numbers import shared_number
from .sorting import Sort, order_rows, parse_sort, value_for_sorting
from .values import OBJECT

_SHAPE_SLACK: Final = 1024


class TooManyFields(InvalidValue):
    """The metadata of all keys together has more fields than an index holds: no one key is to blame."""


class MetadataIndex:
    """Metadata of keys, for queries; a key has one dictionary, and setting it again replaces it.

    About 250 to 400 bytes a key with five fields, keys included. A query scans columns (milliseconds
    for a million keys) and builds an ordered index for a field once scans of it have cost as much;
    `create_index` asks for it at once. Every query sees every write before it.

    A call that raises has changed nothing. Not thread-safe: callers serialise.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, the wishes of `create_index` included."""
        self._row_of: dict[str, int] = {}
        self._keys: list[str | None] = []
        self._free_rows: list[int] = []
        self._columns: dict[str, Column] = {}
        # Shape 0 is that of a free row, so a row without a key can never pass a filter.
        self._shapes: list[Shape | None] = [None]
        self._shape_of: dict[tuple[Trail, ...], Shape] = {}
        self._object_paths: dict[str, list[int]] = {}
        self._shapes_kept_by_last_sweep = 0
        self._row_shapes = np.zeros(16, np.int32)
        self._shape_cells = self._row_shapes.data

    # -- writing

    def set(self, key: str, metadata: Mapping[str, Any]) -> None:
        """Make ``metadata`` the metadata of ``key``, in place of what it had.

        Raises `InvalidType` or `InvalidValue` for metadata that cannot be held (see `values`).
        """
        if not isinstance(key, str):
            raise InvalidType(f"keys are strings, not {type(key).__name__}: {key!r}")
        trails, cells = flatten(metadata)
        shape = self._shape_of.get(trails) or self._new_shape(trails)
        row = self._row_of.get(key)
        if row is None:
            row = self._new_row(key)
        else:
            old = self._shapes[self._shape_cells[row]]
            if old is not None and old is not shape:
                self._clear_cells(row, old, kept=shape)
        self._shape_cells[row] = shape.code
        columns = self._columns
        for path, cell in zip(shape.paths, cells, strict=True):
            columns[path].set(row, *cell)

    def set_many(
        self, items: Mapping[str, Mapping[str, Any]] | Iterable[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """`set` for each pair. Metadata of all pairs is checked before the first is written."""
        pairs = list(items.items() if isinstance(items, Mapping) else items)
        for key, metadata in pairs:
            if not isinstance(key, str):
                raise InvalidType(f"keys are strings, not {type(key).__name__}: {key!r}")
            trails, _ = flatten(metadata)
            if trails not in self._shape_of:
                self._new_shape(trails)
        for key, metadata in pairs:
            self.set(key, metadata)

    def remove(self, key: str) -> bool:
        """Forget a key; returns whether it was there."""
        row = self._row_of.pop(key, None)
        if row is None:
            return False
        shape = self._shapes[self._shape_cells[row]]
        assert shape is not None
        self._clear_cells(row, shape, kept=None)
        self._shape_cells[row] = 0
        self._keys[row] = None
        self._free_rows.append(row)
        return True

    def create_index(self, *paths: str) -> None:
        """Keep the ordered index of these fields from the next query on, instead of waiting for it to pay."""
        for path in paths:
            check_trails((path,))
            if path not in self._columns and len(self._columns) >= MAX_FIELDS:
                raise TooManyFields(_too_many_fields(path))
            self._columns.setdefault(path, Column()).want_index()

    # -- reading

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: object) -> bool:
        return key in self._row_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._row_of)

    def get(self, key: str) -> dict[str, Any]:
        """The metadata of a key as it was set (a fresh copy); `KeyNotFound` if the key is not here."""
        row = self._row_of.get(key)
        if row is None:
            raise KeyNotFound(f"no metadata for key {key!r}: it was never set, or it was removed")
        return self._read_row(row)

    def query(
        self,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        sort: Sort | None = None,
        limit: int | None = None,
        skip: int = 0,
    ) -> list[str]:
        """Keys whose metadata passes the filter (see `filters`), at most ``limit`` after the first ``skip``.

        Without ``sort`` the order is unspecified, but the same as long as nothing is written. Raises
        `InvalidValue` or `InvalidType` for a filter, a sort or a limit that cannot be.
        """
        node = parse_filter(metadata_filter)
        order = parse_sort(sort)
        _check_count("skip", skip)
        if limit is not None:
            _check_count("limit", limit)
        rows = self._table().select(node)
        if order:
            rows = order_rows(rows, order, self._sortable_column, len(self._keys), self._read_for_sorting)
        rows = rows[skip : None if limit is None else skip + limit]
        keys = self._keys
        return [key for row in rows.tolist() if (key := keys[row]) is not None]

    def count(self, metadata_filter: Mapping[str, Any] | None = None) -> int:
        """How many keys pass the filter."""
        return len(self._table().select(parse_filter(metadata_filter)))

    # -- rows and shapes

    def _table(self) -> Table:
        row_count = len(self._keys)
        for column in self._columns.values():
            column.make_dense_if_worth(row_count)
        return Table(
            self._columns, self._shapes, self._object_paths, self._row_shapes, row_count, self._read_path
        )

    def _new_row(self, key: str) -> int:
        if self._free_rows:
            row = self._free_rows.pop()
            self._keys[row] = key
        else:
            row = len(self._keys)
            if row >= len(self._row_shapes):
                grown = np.zeros(row + (row >> 1) + 16, np.int32)
                grown[:row] = self._row_shapes
                self._row_shapes = grown
                self._shape_cells = grown.data
            self._keys.append(key)
        self._row_of[key] = shared_number(row)
        return row

    def _new_shape(self, trails: tuple[Trail, ...]) -> Shape:
        check_trails(trails)
        if len(self._shapes) > 2 * self._shapes_kept_by_last_sweep + len(self._keys) // 64 + _SHAPE_SLACK:
            self._sweep_shapes()
        shape = Shape.build(len(self._shapes), trails)
        check_count(shape)
        fresh = [path for path in shape.paths if path not in self._columns]
        if fresh and len(self._columns) + len(fresh) > MAX_FIELDS:
            self._sweep_shapes()
            if len(self._columns) + len(fresh) > MAX_FIELDS:
                raise TooManyFields(_too_many_fields(fresh[0]))
            shape = Shape.build(len(self._shapes), trails)
        for path in fresh:
            self._columns[path] = Column()
        self._remember_shape(shape)
        return shape

    def _remember_shape(self, shape: Shape) -> None:
        self._shapes.append(shape)
        self._shape_of[shape.trails] = shape
        for path in shape.parents:
            self._object_paths.setdefault(path, []).append(shape.code)

    def _sweep_shapes(self) -> None:
        """Drop shapes and columns that no row has any more."""
        live = np.unique(self._row_shapes[: len(self._keys)])
        renumbered = np.zeros(len(self._shapes), np.int32)
        before = self._shapes
        self._shapes = [None]
        self._shape_of = {}
        self._object_paths = {}
        for code in live.tolist():
            shape = before[code]
            if shape is not None:
                renumbered[code] = len(self._shapes)
                self._remember_shape(Shape(len(self._shapes), shape.trails, shape.paths, shape.parents))
        self._row_shapes[: len(self._keys)] = renumbered[self._row_shapes[: len(self._keys)]]
        self._shapes_kept_by_last_sweep = len(self._shapes)
        used = {path for shape in self._shape_of.values() for path in shape.paths}
        self._columns = {
            path: column for path, column in self._columns.items() if path in used or column.index_wanted
        }

    def _clear_cells(self, row: int, shape: Shape, kept: Shape | None) -> None:
        staying = kept.paths if kept is not None else ()
        for path in shape.paths:
            if path not in staying:
                self._columns[path].clear(row)

    def _read_row(self, row: int) -> dict[str, Any]:
        shape = self._shapes[self._shape_cells[row]]
        assert shape is not None
        return shape.assemble([self._columns[path].get(row) for path in shape.paths])

    def _read_path(self, row: int, path: str) -> Any:
        """The dictionary at a path that is one in this row's shape."""
        shape = self._shapes[self._shape_cells[row]]
        assert shape is not None
        found: dict[str, Any] = {}
        for leaf in shape.paths:
            if leaf.startswith(path + "."):
                inner = found
                *parents, last = leaf[len(path) + 1 :].split(".")
                for name in parents:
                    inner = inner.setdefault(name, {})
                inner[last] = self._columns[leaf].get(row)
        return found

    def _read_for_sorting(self, row: int, path: str) -> Any:
        shape = self._shapes[self._shape_cells[row]]
        assert shape is not None
        trails = tuple(tuple(leaf.split(".")) for leaf in shape.paths)
        nested = Shape(0, trails, shape.paths, shape.parents)
        return value_for_sorting(
            nested.assemble([self._columns[leaf].get(row) for leaf in shape.paths]), path
        )

    def _sortable_column(self, path: str) -> Column | None:
        """The column of ``path`` if no row can have a dictionary there or a list above it."""
        if path in self._object_paths:
            return None
        names = path.split(".")
        for depth in range(1, len(names)):
            above = self._columns.get(".".join(names[:depth]))
            if above is not None and above.has_seen(OBJECT):
                return None
        return self._columns.get(path) or Column()


def _check_count(name: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise InvalidType(f"{name} is a whole number, not {count!r}")
    if count < 0:
        raise InvalidValue(f"{name} cannot be negative, and is {count}")


def _too_many_fields(path: str) -> str:
    return (
        f"metadata field {path!r} would be number {MAX_FIELDS + 1}: put what varies from key to "
        "key into values, not into field names"
    )
