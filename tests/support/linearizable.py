"""Is a recorded history of one register linearizable? (Wing and Gong's search, with Lowe's memory of states.)

Each operation took effect at one moment between its call and its return, if that is possible in an order
that explains every answer. An operation without an answer may take effect at any later moment, or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

UNKNOWN = math.inf
"""The return of an operation that was never answered."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one key, by the clock that all processes of a machine share.

    `value`: what was written or read; None for an absent key. A delete with `existed` says what it found.
    """

    kind: Literal["write", "delete", "read"]
    called_s: float
    returned_s: float
    value: int | None = None
    existed: bool | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """What an operation asks of the register, and makes of it."""

    legal: bool
    state: int | None


def _apply(operation: Operation, state: int | None) -> _Step:
    match operation.kind:
        case "write":
            return _Step(True, operation.value)
        case "read":
            return _Step(state == operation.value, state)
        case "delete":
            found = operation.existed is None or operation.existed == (state is not None)
            return _Step(found, None)


class _Event:
    """A call or a return in a doubly linked list, ordered by time."""

    __slots__ = ("after", "before", "index", "matching")

    def __init__(self, index: int, matching: _Event | None) -> None:
        self.index = index
        self.matching = matching
        """Of a call: its return. Of a return: None."""
        self.before: _Event | None = None
        self.after: _Event | None = None


def _events(operations: Sequence[Operation]) -> _Event:
    """The head of the list. A return and a call at the same time: the call comes first (they overlap)."""
    timed: list[tuple[float, int, int, _Event]] = []
    for index, operation in enumerate(operations):
        returned = _Event(index, None)
        timed.append((operation.called_s, 0, index, _Event(index, returned)))
        timed.append((operation.returned_s, 1, index, returned))
    timed.sort(key=lambda item: item[:3])
    head = last = _Event(-1, None)
    for *_, event in timed:
        last.after, event.before = event, last
        last = event
    return head


def _lift(call: _Event) -> None:
    """Take an operation out of the list."""
    returned = call.matching
    assert returned is not None
    for event in (call, returned):
        assert event.before is not None
        event.before.after = event.after
        if event.after is not None:
            event.after.before = event.before


def _unlift(call: _Event) -> None:
    returned = call.matching
    assert returned is not None
    for event in (returned, call):
        assert event.before is not None
        event.before.after = event
        if event.after is not None:
            event.after.before = event


def is_linearizable(history: Iterable[Operation], initial: int | None = None) -> bool:
    """Whether one order of these operations on one key explains all of them."""
    operations = [op for op in history if not (op.kind == "read" and op.returned_s == UNKNOWN)]
    answered = sum(op.returned_s != UNKNOWN for op in operations)
    head = _events(operations)
    state, done = initial, 0
    seen: set[tuple[int, int | None]] = set()
    stack: list[tuple[_Event, int | None]] = []
    event = head.after
    while answered:
        assert event is not None
        if event.matching is not None:
            step = _apply(operations[event.index], state)
            mark = (done | 1 << event.index, step.state)
            if step.legal and mark not in seen:
                seen.add(mark)
                stack.append((event, state))
                state, done = step.state, mark[0]
                answered -= operations[event.index].returned_s != UNKNOWN
                _lift(event)
                event = head.after
            else:
                event = event.after
            continue
        # An operation that has returned was not placed: the last choice was wrong.
        if not stack:
            return False
        event, state = stack.pop()
        done &= ~(1 << event.index)
        answered += operations[event.index].returned_s != UNKNOWN
        _unlift(event)
        event = event.after
    return True
