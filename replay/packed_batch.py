"""`PackedBatch`: rows in the layout in which a buffer stores them, so that storing them is one copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """What `ColumnStore.pack` gives and `ReplayBuffer.add_batch` takes, between buffers of one schema.

    packed: the bytes of the narrow columns, one packed row each; None where the schema has none.
    wide: the other columns, in the order in which the column store keeps them.
    """

    rows: int
    packed: NDArray[np.uint8] | None
    wide: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.wide) + (0 if self.packed is None else self.packed.nbytes)

    def part(self, start: int, stop: int) -> Self:
        """Rows ``start`` to ``stop``, without a copy."""
        some = slice(start, stop)
        packed = None if self.packed is None else self.packed[some]
        return type(self)(min(stop, self.rows) - start, packed, tuple(column[some] for column in self.wide))
