"""`Encoded`: a value as a small header and its large buffers, the form in which every tier holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ranges = npt.NDArray[np.int64]
"""Half-open byte ranges, shape [n, 2], in the order in which the bytes are wanted."""


class Encoded(NamedTuple):
    """A value taken apart, without a copy.

    `header` is a msgpack map that says how to put the value together again; it never holds bulk data.
    `buffers` are C-contiguous one-dimensional byte views of the value's own memory, so whoever keeps an
    `Encoded` past the call that made it must copy or be sure that nobody writes to the value.
    `has_pickle` says that some part could only be pickled; readers of foreign data refuse it.
    """

    header: bytes
    buffers: tuple[memoryview, ...] = ()
    has_pickle: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return sum([buffer.nbytes for buffer in self.buffers])


@dataclass(frozen=True, slots=True)
class Selection:
    """Which bytes of a stored value make up a part of it (some of its rows), and the header of the part.

    Buffer i of the part is made of `ranges[i]` of buffer `sources[i]` of the whole, joined in order.
    """

    header: bytes
    sources: tuple[int, ...]
    ranges: tuple[Ranges, ...]

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.ranges):
            raise ValueError(f"{len(self.sources)} sources but {len(self.ranges)} range sets")

    def lengths(self) -> Sequence[int]:
        """Bytes of each buffer of the part."""
        return [int((r[:, 1] - r[:, 0]).sum()) for r in self.ranges]
