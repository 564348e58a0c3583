"""`ReplicatedRows`: a buffer with its writers' marks; the same operations in the same order give the same."""

from __future__ import annotations

from collections.abc import Callable
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
)
from .marks import Marks


@dataclass(frozen=True, slots=True)
class RowsState:
    """Everything that a replica holds, copied. `buffer` is None while there is nothing in it."""

    buffer: Any
    marks: list[list[Any]]
    sampled: int = 0
    closed: bool = False
    plan: PlanMove | None = None
    moved: int = 0


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
                case TakeMarks(marks):
                    self.marks.merge(marks)
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

    def export(self) -> RowsState:
        """A copy of everything."""
        state = self.buffer.export_state() if self.buffer.schema is not None else None
        return RowsState(state, self.marks.export(), self.sampled, self.closed, self.plan, self.moved)

    def become(self, state: RowsState) -> None:
        """Hold what `export` gave, and nothing else."""
        self.clear()
        if state.buffer is not None:
            self.buffer.import_state(state.buffer)
        self.marks.merge(state.marks)
        self.sampled, self.closed = state.sampled, state.closed
        self.plan, self.moved = state.plan, state.moved

    def clear(self) -> None:
        """Hold nothing, in no memory."""
        self.buffer = self._make_buffer()
        self.marks = Marks()
        self.sampled = self.updated = self.stale = 0
        self.closed = False
        self.plan = None
        self.moved = 0
