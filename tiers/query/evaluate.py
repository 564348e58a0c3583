"""A filter tree over columns: masks for all rows, or answers for a few candidate rows.

Where a column is indexed, the most selective test of a conjunction names the candidates and the others
are asked of those alone. An index may name too many rows, never too few: everything is tested again,
which is also what makes rows right that were written after the index was built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .cells import test_objects
from .column import Column
from .dictionary import BoolArray, IntArray
from .filters import And, Equals, Exists, FieldTest, Filter, Not, Or, Test
from .matching import ABSENT, resolve, test_any, test_one
from .shapes import Shape
from .values import OBJECT

_CANDIDATE_FRACTION: Final = 16  # gathering a row costs about as much as scanning so many
_NARROW_FRACTION: Final = 8


@dataclass(frozen=True)
class Table:
    """What an evaluation reads: all rows below ``row_count``, free ones (shape 0) included.

    ``object_paths`` has the shapes in which a path is a dictionary, for every path that is one.
    """

    columns: dict[str, Column]
    shapes: list[Shape | None]
    object_paths: dict[str, list[int]]
    row_shapes: npt.NDArray[np.int32]
    row_count: int
    read_path: Callable[[int, str], Any]

    def select(self, node: Filter) -> IntArray:
        """The rows that pass, in ascending order."""
        candidates = self._candidates(node)
        if candidates is None:
            mask = self._test(node, None)
            mask &= self.row_shapes[: self.row_count] != 0
            return np.flatnonzero(mask)
        candidates = candidates[self.row_shapes[candidates] != 0]
        return np.sort(candidates[self._test(node, candidates)])

    def _candidates(self, node: Filter) -> IntArray | None:
        """Rows among which all that pass are, each once; None where a scan is cheaper."""
        limit = max(64, self.row_count // _CANDIDATE_FRACTION)
        match node:
            case Or(parts):
                found = [self._candidates(part) for part in parts]
                if any(rows is None for rows in found):
                    return None
                together = np.unique(np.concatenate([rows for rows in found if rows is not None]))
                return together if len(together) <= limit else None
            case Not():
                return None
        conjunction = list(_flat(node))
        tests: dict[str, list[Test]] = {}
        for part in conjunction:
            if isinstance(part, FieldTest):
                tests.setdefault(part.path, []).append(part.test)
        for cheap in (True, False):
            narrowed = [self._indexed_candidates(path, asked, limit, cheap) for path, asked in tests.items()]
            narrowed += [self._candidates(part) for part in conjunction if isinstance(part, Or)]
            useful = [rows for rows in narrowed if rows is not None]
            if useful:
                return min(useful, key=len)
        return None

    def _indexed_candidates(self, path: str, tests: list[Test], limit: int, cheap: bool) -> IntArray | None:
        column = self.columns.get(path)
        if column is None or self._object_shapes(path) is not None or self._list_ancestors(path):
            return None
        column.index_if_worth(self.row_count)
        return column.candidates(tests, limit, cheap=cheap)

    def _test(self, node: Filter, rows: IntArray | None) -> BoolArray:
        match node:
            case And(parts):
                return self._test_all(parts, rows)
            case Or(parts):
                mask = np.zeros(self.row_count if rows is None else len(rows), np.bool_)
                for part in parts:
                    mask |= self._test(part, rows)
                return mask
            case Not(part):
                mask = self._test(part, rows)
                return np.logical_not(mask, out=mask)
            case _:
                return self._test_field(node, rows)

    def _test_all(self, parts: tuple[Filter, ...], rows: IntArray | None) -> BoolArray:
        total = self.row_count if rows is None else len(rows)
        mask = np.ones(total, np.bool_)
        for part in parts:
            is_first = part is parts[0]
            if not is_first and np.count_nonzero(mask) < total // _NARROW_FRACTION:
                places = np.flatnonzero(mask)
                # Few are left: ask only those, and put the answers back where they stood.
                left = places if rows is None else rows[places]
                mask[places] = self._test(part, left)
            else:
                mask &= self._test(part, rows)
        return mask

    def _test_field(self, node: FieldTest, rows: IntArray | None) -> BoolArray:
        column = self.columns.get(node.path)
        total = self.row_count if rows is None else len(rows)
        if column is None:
            mask = np.full(total, test_one(ABSENT, node.test), np.bool_)
        else:
            mask = column.test(node.test, self.row_count, rows)
        self._overwrite_lists(mask, node, rows)
        self._overwrite_objects(mask, node, rows)
        return mask

    def _list_ancestors(self, path: str) -> list[tuple[Column, list[str]]]:
        """Columns above ``path`` that may hold lists, each with the rest of the path below it."""
        names = path.split(".")
        found = []
        for depth in range(1, len(names)):
            column = self.columns.get(".".join(names[:depth]))
            if column is not None and column.has_seen(OBJECT):
                found.append((column, names[depth:]))
        return found

    def _overwrite_lists(self, mask: BoolArray, node: FieldTest, rows: IntArray | None) -> None:
        for column, rest in self._list_ancestors(node.path):
            kinds, ints = column.cells(self.row_count, rows)

            def reaches(value: Any, rest: list[str] = rest) -> bool:
                return test_any(resolve(value, rest), node.test)

            test_objects(mask, column, kinds, ints, reaches)

    def _object_shapes(self, path: str) -> BoolArray | None:
        """For each shape, whether ``path`` is a dictionary in it; None if it is in no shape."""
        codes = self.object_paths.get(path)
        if codes is None:
            return None
        flags = np.zeros(len(self.shapes), np.bool_)
        flags[codes] = True
        return flags

    def _overwrite_objects(self, mask: BoolArray, node: FieldTest, rows: IntArray | None) -> None:
        shapes = self._object_shapes(node.path)
        if shapes is None:
            return
        row_shapes = self.row_shapes[: self.row_count] if rows is None else self.row_shapes[rows]
        is_object = shapes[row_shapes]
        mask[is_object] = isinstance(node.test, Exists)
        if isinstance(node.test, Equals) and any(isinstance(value, dict) for value in node.test.values):
            for place in np.flatnonzero(is_object).tolist():
                row = place if rows is None else int(rows[place])
                mask[place] = test_one(self.read_path(row, node.path), node.test)


def _flat(node: Filter) -> Iterator[Filter]:
    """The parts of a conjunction, those of conjunctions inside it included."""
    if isinstance(node, And):
        for part in node.parts:
            yield from _flat(part)
    else:
        yield node
