"""`StateExport`: all that a replica holds, in pieces, as it was at one moment, while the replica goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .replicated import ReplicatedRows, RowsState

PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class StatePiece:
    """The first one has everything but the columns of the rows (a few dozen bytes a row), the others rows."""

    number: int
    last: bool
    head: RowsState | None = None
    start: int = 0
    columns: Mapping[str, Any] | None = None


class StateExport:
    """`end` it when it is not wanted any more: until then rows that are overwritten are set aside.

    Belongs to one `ShardCore`. So neither a long pause nor a second copy of the buffer is needed.
    """

    def __init__(self, rows: ReplicatedRows, piece_bytes: int = PIECE_BYTES) -> None:
        buffer = rows.buffer
        self._pending = None if buffer.schema is None else buffer.begin_checkpoint()
        self._head: RowsState | None = rows.head(None if self._pending is None else self._pending.index)
        row_bytes = 1 if buffer.schema is None else max(1, buffer.schema.row_nbytes)
        self._piece_rows = max(1, piece_bytes // row_bytes)
        self._number = 0

    def next_piece(self) -> StatePiece:
        """The piece that follows; to be called until one is the last."""
        number, self._number = self._number, self._number + 1
        if number == 0:
            head, self._head = self._head, None
            return StatePiece(0, self._pending is None or not self._pending.remaining, head)
        assert self._pending is not None
        start, columns = self._pending.next_rows(self._piece_rows)
        return StatePiece(number, not self._pending.remaining, None, start, columns)

    def end(self) -> None:
        """Nothing more is wanted. Twice is fine."""
        if self._pending is not None:
            self._pending.forget()
