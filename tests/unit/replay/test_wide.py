"""Gathering wide columns: the same rows alone and with helpers, and the choice between the two."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from memories.replay import crew, wide
from memories.replay.pace import Pace


class Fixed(Pace):
    def __init__(self, helped: bool) -> None:
        super().__init__()
        self.helped = helped

    def wants_help(self) -> bool:
        return self.helped


@pytest.mark.parametrize("helped", [True, False])
@pytest.mark.parametrize("rows", [1, 100, 257])
def test_rows_are_the_same_with_and_without_help(
    helped: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide, "_usable_cores", lambda: 3)
    rng = np.random.default_rng(0)
    column = rng.integers(0, 256, (300, 84, 84, 4), dtype=np.uint8)
    for _ in range(5):
        slots = rng.integers(0, 300, rows)
        found = wide.gather_wide(column, slots, Fixed(helped))
        assert np.array_equal(found, column[slots])


def in_time(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@pytest.fixture
def no_helpers() -> None:
    assert in_time(lambda: not crew._all), "helpers of earlier tests do not end"


@pytest.mark.usefixtures("no_helpers")
def test_helpers_are_few_and_end_when_nobody_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "_usable_cores", lambda: 64)
    column = np.arange(8 * 1_000_000, dtype=np.uint8).reshape(8, -1)
    slots = np.array([3, 0, 1, 7])

    def sample() -> None:
        for _ in range(20):
            assert np.array_equal(wide.gather_wide(column, slots, Fixed(True)), column[slots])

    threads = [threading.Thread(target=sample) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(crew._all) <= crew.MOST_HELPERS
    assert in_time(lambda: not crew._all)


@pytest.mark.usefixtures("no_helpers")
def test_a_helper_lets_go_of_what_it_worked_on() -> None:
    done: list[int] = []
    array = np.zeros(1)
    alive = weakref.ref(array)
    crew.call_helpers(1, lambda array=array: done.append(array.size))
    del array
    assert in_time(lambda: bool(done))
    assert in_time(lambda: alive() is None)


def test_a_forked_child_gathers_without_the_helpers_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "_usable_cores", lambda: 2)
    column = np.arange(4 * 1_000_000, dtype=np.uint8).reshape(4, -1)
    slots = np.array([3, 0, 1])
    wide.gather_wide(column, slots, Fixed(True))
    child = os.fork()
    if child == 0:
        alone = not crew._all
        right = all(np.array_equal(wide.gather_wide(column, slots), column[slots]) for _ in range(3))
        os._exit(0 if alone and right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.usefixtures("no_helpers")
def test_no_thread_to_be_had_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(wide, "_usable_cores", lambda: 2)
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    column = np.arange(4 * 1_000_000, dtype=np.uint8).reshape(4, -1)
    assert np.array_equal(wide.gather_wide(column, np.array([3, 0, 1]), Fixed(True)), column[[3, 0, 1]])


def test_the_faster_way_is_taken_and_the_other_one_tried_again() -> None:
    pace = Pace()
    seconds = {True: 1.0, False: 1.5}
    taken = []
    for call in range(400):
        if call == 200:  # the other core gets busy
            seconds = {True: 3.0, False: 1.5}
        helped = pace.wants_help()
        taken.append(helped)
        pace.record(helped, 1000, seconds[helped] * (50 if call == 100 else 1))  # one lost time slice
    assert taken[:11] == [True] * 6 + [False] * 5  # the first one woke the helpers, and is not counted
    assert sum(taken[11:200]) > 170
    assert 1 <= sum(taken[250:]) < 15


def test_helpers_that_sleep_are_tried_for_longer_than_they_take_to_wake() -> None:
    """A single try between copies that this thread made alone would always seem too slow."""
    pace = Pace()
    asleep = True
    seconds = 3.0  # of helped copies, at first: the other core is busy
    taken = []
    for call in range(1000):
        if call == 200:
            seconds = 1.0
        helped = pace.wants_help()
        taken.append(helped)
        pace.record(helped, 1000, (seconds + asleep) if helped else 1.5)
        asleep = not helped
    assert sum(taken[20:200]) < 20
    assert sum(taken[400:]) > 500
