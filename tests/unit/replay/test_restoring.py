"""Restoring into buffers with selectors that look at the rows, and with a capacity in bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memories.errors import InvalidValue, NothingToSample
from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Rows, Selector
from memories.replay.selector import Draw


class Rewarded(Selector):
    """Draws rows whose reward is positive."""

    def bind(self, rows: Rows) -> None:
        super().bind(rows)
        self.good = np.zeros(rows.slots.capacity, np.bool_)

    def insert(self, slots: np.ndarray) -> None:
        self.good[slots] = self.rows.columns.views["reward"][slots] > 0

    def remove(self, slots: np.ndarray) -> None:
        self.good[slots] = False

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        good = np.flatnonzero(self.good)
        if not good.size:
            raise NothingToSample("No row has a positive reward.")
        return Draw(rng.choice(good, count), good.size)


def rewarded(rewards: np.ndarray) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity=100, sampler=Rewarded(), seed=0)
    buffer.add_batch({"n": np.arange(rewards.size), "reward": rewards})
    return buffer


@pytest.mark.parametrize("rows", [40, 100])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_selector_is_rebuilt_from_the_restored_rows(rows: int, in_pieces: bool, tmp_path: Path) -> None:
    saved = rewarded(np.r_[np.ones(10), np.zeros(rows - 10)])
    used = rewarded(np.r_[np.zeros(90), np.ones(10)])
    if in_pieces:
        pending = saved.begin_checkpoint()
        used.import_index(pending.index)
        while pending.remaining:
            used.import_rows(*pending.next_rows(7))
        pending.forget()
    else:
        saved.checkpoint(tmp_path / "file")
        used.restore(tmp_path / "file")
    assert used.sample(50)["n"].tolist() == saved.sample(50)["n"].tolist()
    assert set(used.sample(200)["n"].tolist()) == set(range(10))


def test_an_empty_buffer_is_restored(tmp_path: Path) -> None:
    saved, used = rewarded(np.ones(5)), rewarded(np.ones(100))
    saved.clear()
    saved.checkpoint(tmp_path / "file")
    used.restore(tmp_path / "file")
    assert len(used) == 0
    used.add_batch({"n": np.arange(3), "reward": np.r_[0.0, 1.0, 0.0]})
    assert set(used.sample(20)["n"].tolist()) == {1}


def test_a_capacity_in_bytes_is_compared_as_rows(tmp_path: Path) -> None:
    saved = ReplayBuffer(capacity=1_000, capacity_bytes=4_000, seed=0)
    saved.add_batch({"x": np.arange(50.0)})
    assert saved.capacity == 250
    saved.checkpoint(tmp_path / "file")
    for alike in (
        ReplayBuffer(capacity=1_000, capacity_bytes=4_000),
        ReplayBuffer(capacity_bytes=4_000),
        ReplayBuffer(capacity=250),
    ):
        alike.restore(tmp_path / "file")
        assert alike.sample(20)["x"].tolist() == ReplayBuffer.load(tmp_path / "file").sample(20)["x"].tolist()


def test_a_capacity_in_bytes_that_differs_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    saved = ReplayBuffer(capacity=250, seed=0)
    saved.add_batch({"x": np.arange(200.0)})
    saved.checkpoint(tmp_path / "file")
    for other in (
        ReplayBuffer(capacity_bytes=8_000),
        ReplayBuffer(capacity=250, capacity_bytes=1_000),
        ReplayBuffer(capacity=250, capacity_bytes=3),
    ):
        before = other.capacity
        with pytest.raises(InvalidValue, match="capacity"):
            other.restore(tmp_path / "file")
        assert (other.schema, other.capacity, len(other)) == (None, before, 0)
    with pytest.raises(InvalidValue, match="capacity"):
        PrioritizedReplayBuffer.load(tmp_path / "file", capacity_bytes=1_000)
