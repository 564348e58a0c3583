"""Sets of locations as small numbers: a million keys share the few sets that occur."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Location = str
"""A tier on a node, such as ``"n1/warm"``; the catalog gives it no meaning."""

CodeArray = npt.NDArray[np.int32]

EMPTY = 0
"""The code of the empty set."""


class LocationSets:
    """Codes of frozen sets of locations. Only grows: codes that were handed out stay what they are.

    A cluster has far fewer combinations than keys; those of locations that are gone are a few bytes each.
    """

    def __init__(self) -> None:
        self._sets: list[frozenset[Location]] = [frozenset()]
        self._codes: dict[frozenset[Location], int] = {frozenset(): EMPTY}
        self._steps: dict[tuple[int, Location, bool], int] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, code: int) -> frozenset[Location]:
        return self._sets[code]

    def code_of(self, locations: Iterable[Location]) -> int:
        wanted = frozenset(locations)
        code = self._codes.get(wanted)
        if code is None:
            code = self._codes[wanted] = len(self._sets)
            self._sets.append(wanted)
        return code

    def with_one(self, code: int, location: Location) -> int:
        """The code of the set with ``location`` added."""
        return self._step(code, location, adds=True)

    def without(self, code: int, location: Location) -> int:
        """The code of the set with ``location`` taken out."""
        return self._step(code, location, adds=False)

    def _step(self, code: int, location: Location, *, adds: bool) -> int:
        step = (code, location, adds)
        found = self._steps.get(step)
        if found is None:
            before = self._sets[code]
            found = self.code_of(before | {location} if adds else before - {location})
            self._steps[step] = found
        return found

    def codes_holding(self, location: Location) -> npt.NDArray[np.bool_]:
        """For each code, whether its set has ``location``."""
        return np.fromiter((location in members for members in self._sets), np.bool_, len(self._sets))

    def map_with(self, codes: CodeArray, location: Location, *, adds: bool) -> CodeArray:
        """`with_one` or `without` for many codes at once."""
        distinct, inverse = np.unique(codes, return_inverse=True)
        moved = [self._step(code, location, adds=adds) for code in distinct.tolist()]
        return np.array(moved, np.int32)[inverse] if moved else codes.copy()
