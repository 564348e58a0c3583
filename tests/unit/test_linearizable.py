"""The checker itself: it accepts what one register can do, and nothing else."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support.linearizable import UNKNOWN, Operation, is_linearizable


def write(value: int, called: float, returned: float) -> Operation:
    return Operation("write", called, returned, value)


def read(value: int | None, called: float, returned: float) -> Operation:
    return Operation("read", called, returned, value)


def delete(called: float, returned: float, existed: bool | None = None) -> Operation:
    return Operation("delete", called, returned, existed=existed)


GOOD = {
    "one after the other": [write(1, 0, 1), read(1, 2, 3), delete(4, 5, True), read(None, 6, 7)],
    "a read during a write sees either": [write(1, 0, 1), write(2, 2, 5), read(1, 3, 3.5), read(2, 4, 4.5)],
    "writes that overlap end in either order": [write(1, 0, 9), write(2, 0, 9), read(1, 10, 11)],
    "an unanswered write that took effect late": [
        write(1, 0, 1),
        write(2, 2, UNKNOWN),
        read(1, 3, 4),
        read(2, 5, 6),
    ],
    "an unanswered write that never took effect": [write(1, 0, 1), write(2, 2, UNKNOWN), read(1, 3, 4)],
    "an unanswered delete between two reads": [write(1, 0, 1), delete(2, UNKNOWN), read(None, 3, 4)],
    "two deletes, of which one found it": [write(1, 0, 1), delete(2, 5, True), delete(2, 5, False)],
    "nothing": [],
    "only a read of nothing": [read(None, 0, 1)],
}

BAD = {
    "a stale read": [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
    "a read from the future": [read(1, 0, 1), write(1, 2, 3)],
    "a lost write": [write(1, 0, 1), read(None, 2, 3)],
    "a deleted value comes back": [write(1, 0, 1), delete(2, 3), read(1, 4, 5)],
    "a value that nobody wrote": [write(1, 0, 1), read(7, 2, 3)],
    "two readers see two writes in two orders": [
        write(1, 0, 10),
        write(2, 0, 10),
        read(1, 1, 2),
        read(2, 3, 4),
        read(1, 5, 6),
    ],
    "back to the old value during a write": [write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)],
    "an unanswered write takes effect twice": [
        write(1, 0, 1),
        write(2, 2, UNKNOWN),
        read(2, 3, 4),
        write(3, 5, 6),
        read(2, 7, 8),
    ],
    "two deletes both found it": [write(1, 0, 1), delete(2, 5, True), delete(2, 5, True)],
    "a delete that found nothing, after a write": [write(1, 0, 1), delete(2, 3, False)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_register_can_do_is_accepted(name: str) -> None:
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_a_register_cannot_do_is_refused(name: str) -> None:
    assert not is_linearizable(BAD[name])


def _by_trying_all_orders(history: list[Operation]) -> bool:
    certain = [op for op in history if op.returned_s != UNKNOWN]
    open_ones = [op for op in history if op.returned_s == UNKNOWN and op.kind != "read"]
    for number in range(len(open_ones) + 1):
        for chosen in itertools.combinations(open_ones, number):
            for order in itertools.permutations([*certain, *chosen]):
                if _in_time(order) and _explains(order):
                    return True
    return False


def _in_time(order: tuple[Operation, ...]) -> bool:
    latest = float("-inf")
    for operation in order:
        if operation.returned_s < latest:
            return False
        latest = max(latest, operation.called_s)
    return True


def _explains(order: tuple[Operation, ...]) -> bool:
    state: int | None = None
    for operation in order:
        if operation.kind == "read" and operation.value != state:
            return False
        if operation.kind == "delete":
            if operation.existed is not None and operation.existed != (state is not None):
                return False
            state = None
        if operation.kind == "write":
            state = operation.value
    return True


def test_it_agrees_with_trying_all_orders_on_2000_random_histories() -> None:
    draw = random.Random(0)
    answers = []
    for _ in range(2_000):
        history = []
        for number in range(draw.randint(1, 6)):
            called = draw.uniform(0, 10)
            returned = UNKNOWN if draw.random() < 0.2 else called + draw.uniform(0.1, 6)
            kind = draw.choice(["write", "read", "read", "delete"])
            value = number if kind == "write" else draw.choice([None, *range(number + 1)])
            existed = draw.choice([None, True, False]) if kind == "delete" and returned != UNKNOWN else None
            value = None if kind == "delete" else value
            history.append(Operation(kind, called, returned, value, existed))
        answers.append(is_linearizable(history))
        assert answers[-1] == _by_trying_all_orders(history), history
    assert 300 < sum(answers) < 1_700
