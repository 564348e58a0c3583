"""Chooses who walks the co-firing graph: compiled loops (numba) or whole-array NumPy.

Both give the same results, entry for entry (a test holds them together). NumPy starts at once, so
small graphs stay there; compiled loops are several times faster once lists get long, and are loaded
when a graph has grown to `COMPILE_FROM_ENTRIES`. ``MEMORIA_KERNELS=numpy|numba|auto`` decides by hand.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from .errors import InvalidArgument

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]
FlagArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

COMPILE_FROM_ENTRIES = 200_000


class Kernels(Protocol):
    """What a graph needs done on its adjacency lists. All arrays are changed in place where said."""

    def strongest(
        self,
        start: LongArray,
        length: IntArray,
        targets: IntArray,
        counts: IntArray,
        sources: LongArray,
        free: FlagArray,
        draws: FloatArray,
    ) -> LongArray:
        """For each source the free neighbour it fired with most often, -1 where it has none.

        Ties go to the lowest slot when `draws` is empty, else to the one that the source's draw from
        [0, 1) points at.
        """
        ...

    def wire(
        self,
        start: LongArray,
        length: IntArray,
        room: IntArray,
        targets: IntArray,
        counts: IntArray,
        mark: IntArray,
        fired: LongArray,
        row_offsets: LongArray,
        used: int,
    ) -> int:
        """Adds 1 to every ordered pair of different nodes that fired in the same row.

        New pairs are appended; a list without room moves to the end of the pool. Returns the new end.
        `mark` is scratch, -1 everywhere before and after.
        """
        ...

    def repack(
        self,
        start: LongArray,
        length: IntArray,
        room: IntArray,
        targets: IntArray,
        counts: IntArray,
        new_of_old: LongArray,
        by_start: LongArray,
    ) -> int:
        """Moves all lists to the front of the pool, in place, without entries whose node is gone.

        `by_start` are the nodes in the order of their lists in the pool: nothing that is still to be
        read is overwritten. Changes start, length and room (still by old slot); returns the new end.
        """
        ...


@cache
def _numpy_kernels() -> Kernels:
    return cast(Kernels, importlib.import_module("._kernels_numpy", __package__))


@cache
def _numba_kernels() -> Kernels | None:
    if importlib.util.find_spec("numba") is None:
        return None
    module: Any = importlib.import_module("._kernels_numba", __package__)
    return cast(Kernels, module)


def kernels_for(entries: int) -> Kernels:
    """The kernels for a graph whose pool holds `entries` entries."""
    wish = os.environ.get("MEMORIA_KERNELS", "auto")
    if wish not in ("auto", "numpy", "numba"):
        raise InvalidArgument(f"MEMORIA_KERNELS is {wish!r}; use auto, numpy or numba")
    if wish == "numba" or (wish == "auto" and entries >= COMPILE_FROM_ENTRIES):
        compiled = _numba_kernels()
        if compiled is not None:
            return compiled
        if wish == "numba":
            raise InvalidArgument("MEMORIA_KERNELS=numba, but numba is not installed")
    return _numpy_kernels()


def grown_room(length: int, needed: int) -> int:
    """Room for a list that has to hold `needed` entries: exact the first time, with spare after that."""
    return needed if length == 0 else needed + needed // 2
