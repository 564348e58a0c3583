"""`ReplicatedRows`: a buffer with its writers' marks; the same operations in the same order give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import MemoriesError
from ....replay.buffer import ReplayBuffer
from .events import (
    CloseInserts,
    Done,
    FinishMove,
    InsertRows,
    Operation,
    PlanMove,
    RemoveRows,
    ReplaceRows,
    SetPriorities,
    TakeMarks,
    TakeRows,
)
from .marks import Marks
from .state_export import PIECE_BYTES, StateExport, StatePiece

MAX_READERS = 4_096
"""Readers of a queue whose last rows are kept; the one that was silent longest is forgotten."""


@dataclass(frozen=True, slots=True)
class TakenRows:
    """What a reader was given last by a logical shard, kept until it asks for more."""

    reader: str
    logical: int
    number: int
    handles: Any = None  # None: no rows
    columns: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return 0 if self.handles is None else len(self.handles)


@dataclass(frozen=True, slots=True)
class RowsState:
    """Everything that a replica holds, copied. `buffer` is None while there is nothing in it."""

    buffer: Any
    marks: list[list[Any]]
    sampled: int = 0
    closed: bool = False
    plan: PlanMove | None = None
    moved: int = 0
    taken: tuple[TakenRows, ...] = ()


class ReplicatedRows:
    """Not thread-safe: it belongs to one `ShardCore`."""

    buffer: ReplayBuffer
    marks: Marks
    sampled: int
    updated: int
    stale: int
    closed: bool
    plan: PlanMove | None
    moved: int
    taken: dict[tuple[str, int], TakenRows]
    piece_bytes = PIECE_BYTES
    _coming: tuple[ReplayBuffer, RowsState] | None

    def __init__(self, make_buffer: Callable[[], ReplayBuffer]) -> None:
        self._make_buffer = make_buffer
        self.clear()

    def apply(self, operation: Operation) -> Done:
        """Do one operation. What the buffer refuses it refuses on every replica, and nothing is changed."""
        result: Any = None
        try:
            match operation:
                case InsertRows(writer, logical, number, floor, columns, priorities):
                    if (writer, logical, number) not in self.marks:
                        self.marks.add(writer, logical, number, floor)
                        self.buffer.add_batch(columns, priorities)
                case SetPriorities(handles, priorities):
                    result = self.buffer.update_priorities(handles, priorities)
                    self.updated += result.applied
                    self.stale += result.stale
                case RemoveRows(handles):
                    result = self.buffer.remove(handles)
                case TakeRows():
                    result = self._take(operation)
                case TakeMarks(marks, taken):
                    self.marks.merge(marks)
                    self._merge_taken(taken)
                case ReplaceRows(state):
                    buffer = self._make_buffer()
                    if state.buffer is not None:
                        buffer.import_state(state.buffer)
                    self.buffer, self.sampled = buffer, state.sampled
                    self.marks.merge(state.marks)
                case CloseInserts():
                    self.closed = True
                case PlanMove(number) if self.plan is None and number == self.moved + 1:
                    self.plan = operation
                case FinishMove(number) if self.plan is not None and self.plan.number == number:
                    self.buffer.remove(self.plan.handles)
                    self.plan, self.moved = None, number
        except MemoriesError as error:
            return Done(error=error)
        return Done(result)

    def _take(self, ask: TakeRows) -> TakenRows:
        key = (ask.reader, ask.logical)
        last = self.taken.pop(key, None)
        if last is None or ask.number > last.number:
            # A shard that gives its rows away has none for readers: they find them at their new shard.
            count = 0 if self.closed else min(ask.count, len(self.buffer))
            last = TakenRows(*key, ask.number)
            if count:
                batch = self.buffer.sample(count)
                last = TakenRows(*key, ask.number, batch.handles, batch.columns)
                self.sampled += count
        self.taken[key] = last
        while len(self.taken) > MAX_READERS:
            del self.taken[next(iter(self.taken))]
        return last if last.number == ask.number else TakenRows(*key, ask.number)  # else: late, nobody waits

    def _merge_taken(self, taken: Iterable[TakenRows]) -> None:
        for rows in taken:
            known = self.taken.get((rows.reader, rows.logical))
            if known is None or known.number < rows.number:
                self.taken[rows.reader, rows.logical] = rows

    def export(self) -> RowsState:
        """A copy of everything."""
        return self.head(self.buffer.export_state() if self.buffer.schema is not None else None)

    def export_pieces(self) -> StateExport:
        """Everything, as it is now, in pieces of bounded size for `install`."""
        return StateExport(self, self.piece_bytes)

    def head(self, state: Any) -> RowsState:
        """Everything beside the buffer, with this as the buffer's state."""
        taken = tuple(self.taken.values())
        return RowsState(state, self.marks.export(), self.sampled, self.closed, self.plan, self.moved, taken)

    def become(self, state: RowsState) -> None:
        """Hold what `export` gave, and nothing else."""
        self.clear()
        if state.buffer is not None:
            self.buffer.import_state(state.buffer)
        self._become_head(state)

    def install(self, piece: StatePiece) -> None:
        """Take one piece of what `export_pieces` gave, in their order; nothing shows before the last one."""
        if piece.head is not None:
            self.clear()
            self._coming = self._make_buffer(), piece.head
            if piece.head.buffer is not None:
                self._coming[0].import_index(piece.head.buffer)
        assert self._coming is not None
        buffer, head = self._coming
        if piece.columns is not None:
            buffer.import_rows(piece.start, piece.columns)
        if piece.last:
            self.buffer, self._coming = buffer, None
            self._become_head(head)

    def _become_head(self, state: RowsState) -> None:
        self.marks.merge(state.marks)
        self.sampled, self.closed = state.sampled, state.closed
        self.plan, self.moved = state.plan, state.moved
        self._merge_taken(state.taken)

    def clear(self) -> None:
        """Hold nothing, in no memory."""
        self.buffer = self._make_buffer()
        self.marks = Marks()
        self.sampled = self.updated = self.stale = 0
        self.closed = False
        self.plan = None
        self.moved = 0
        self.taken = {}
        self._coming = None
