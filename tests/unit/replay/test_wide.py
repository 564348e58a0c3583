"""Gathering wide columns: the same rows alone and with helpers, and the choice between the two."""

from __future__ import annotations

import numpy as np
import pytest

from memories.replay import wide
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
    assert taken[:10] == [True] * 5 + [False] * 5
    assert sum(taken[10:200]) > 175
    assert 1 <= sum(taken[250:]) < 15
