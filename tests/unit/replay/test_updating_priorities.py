"""New priorities, in whatever array handles and numbers come; compiled and with NumPy alone alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memories.errors import InvalidValue
from memories.replay import PrioritizedReplayBuffer, PrioritizedSampler, ReplayBuffer, Schema, compiled
from memories.replay.handles import Slots

CAPACITY = 40


@pytest.fixture(params=["compiled", "numpy"])
def buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PrioritizedReplayBuffer:
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "load", lambda: None)
    made = PrioritizedReplayBuffer(Schema.from_example({"x": np.float32(0)}), CAPACITY, alpha=1.0)
    made.add_batch({"x": np.arange(CAPACITY, dtype=np.float32)})
    return made


def weights(buffer: PrioritizedReplayBuffer) -> list[float]:
    return [float(p) for p in buffer.priorities_of(buffer.handles())]


@pytest.mark.parametrize("form", ["as they are", "read-only", "every second", "a list", "unsigned"])
def test_handles_and_priorities_come_in_any_array(buffer: PrioritizedReplayBuffer, form: str) -> None:
    handles: Any = buffer.handles()[:10]
    priorities: Any = np.arange(1.0, 11.0)
    expected = [*priorities.tolist(), *[1.0] * (CAPACITY - 10)]
    if form == "read-only":
        handles, priorities = handles.copy(), priorities.copy()
        handles.flags.writeable = priorities.flags.writeable = False
    elif form == "every second":
        handles, priorities = np.repeat(handles, 2)[::2], np.repeat(priorities, 2)[::2]
    elif form == "a list":
        handles, priorities = handles.tolist(), priorities.tolist()
    elif form == "unsigned":
        handles, priorities = handles.astype(np.uint64), priorities.astype(np.float32)
    result = buffer.update_priorities(handles, priorities)
    assert (result.applied, result.stale) == (10, 0)
    assert weights(buffer) == expected
    assert buffer.priority_stats().total == pytest.approx(sum(expected))


def test_of_a_row_that_is_named_twice_the_last_priority_stands(buffer: PrioritizedReplayBuffer) -> None:
    first, second = buffer.handles()[:2]
    buffer.update_priorities([first, second, first], [5.0, 6.0, 7.0])
    assert weights(buffer)[:2] == [7.0, 6.0]
    assert buffer.priority_stats().total == pytest.approx(7 + 6 + CAPACITY - 2)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf, -np.inf])
def test_a_bad_priority_changes_nothing(buffer: PrioritizedReplayBuffer, bad: float) -> None:
    handles = buffer.handles()[:3]
    with pytest.raises(InvalidValue, match=r"1 of 3 are not \(first: "):
        buffer.update_priorities(handles, [2.0, 3.0, bad])
    assert weights(buffer) == [1.0] * CAPACITY


def test_rows_that_are_gone_and_rows_that_never_were_are_stale(buffer: PrioritizedReplayBuffer) -> None:
    old = buffer.handles()
    buffer.add_batch({"x": np.arange(4, dtype=np.float32)})  # over the four oldest
    foreign = np.array([-1, np.iinfo(np.int64).max, np.iinfo(np.int64).min, old[0] | 63], dtype=np.int64)
    result = buffer.update_priorities(np.concatenate([old, foreign]), 9.0)
    assert (result.applied, result.stale) == (CAPACITY - 4, 8)
    assert weights(buffer) == [*[9.0] * (CAPACITY - 4), *[1.0] * 4]
    result = buffer.update_priorities(foreign, 1e6)
    assert (result.applied, result.stale) == (0, 4)
    buffer.add_batch({"x": np.arange(1, dtype=np.float32)})
    assert max(weights(buffer)) == 9.0  # new rows get the largest that a row has had


def test_a_sampler_of_ones_own_hears_of_every_update() -> None:
    class Noting(PrioritizedSampler):
        def update(self, slots: Slots) -> None:
            noted.extend(slots.tolist())
            super().update(slots)

    noted: list[int] = []
    buffer = ReplayBuffer(Schema.from_example({"x": np.float32(0)}), CAPACITY, sampler=Noting(alpha=1.0))
    handles = buffer.add_batch({"x": np.arange(CAPACITY, dtype=np.float32)})
    buffer.sample(1)
    noted.clear()
    buffer.update_priorities(handles[:3], [0.0, 9.0, 0.0])
    assert noted == [0, 1, 2]
    assert buffer.priority_stats().total == pytest.approx(9 + CAPACITY - 3)
