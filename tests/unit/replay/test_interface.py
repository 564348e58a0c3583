"""The buffer as a user meets it first."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from memories.errors import InvalidValue, NothingToSample
from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Schema


def rows(count: int, start: int = 0) -> dict[str, np.ndarray]:
    n = np.arange(start, start + count)
    return {
        "obs": np.repeat(n[:, None], 3, axis=1).astype(np.float32),
        "action": n,
        "done": n % 5 == 4,
    }


def test_uniform_round_trip() -> None:
    buffer = ReplayBuffer(capacity=100, seed=0)
    for i in range(30):
        buffer.add(obs=np.full(3, i, np.float32), action=i, done=i % 5 == 4)
    assert len(buffer) == 30
    batch = buffer.sample(64)
    assert batch["obs"].shape == (64, 3)
    assert batch["obs"].dtype == np.float32
    assert (batch["obs"][:, 0] == batch["action"]).all()
    assert (batch["done"] == (batch["action"] % 5 == 4)).all()
    assert batch.weights.tolist() == [1.0] * 64
    assert np.allclose(batch.probabilities, 1 / 30)


def test_old_rows_are_overwritten_and_their_handles_are_stale() -> None:
    buffer = PrioritizedReplayBuffer(capacity=10, seed=0)
    first = buffer.add_batch(rows(10))
    second = buffer.add_batch(rows(4, start=10))
    result = buffer.update_priorities(np.concatenate([first, second]), np.arange(1.0, 15.0))
    assert result == (10, 4)
    assert sorted(set(buffer.sample(500)["action"].tolist())) == list(range(4, 14))


def test_prioritized_draws_follow_priorities() -> None:
    buffer = PrioritizedReplayBuffer(capacity=4, alpha=1.0, seed=0)
    handles = buffer.add_batch(rows(4))
    buffer.update_priorities(handles, [0.0, 1.0, 0.0, 3.0])
    batch = buffer.sample(1000, beta=1.0)
    assert set(batch["action"].tolist()) == {1, 3}
    assert set(np.round(batch.probabilities, 12).tolist()) == {0.25, 0.75}
    assert np.allclose(batch.weights[batch["action"] == 3], 1 / 3)


def test_nested_observations() -> None:
    buffer = ReplayBuffer(capacity=8, seed=0)
    buffer.add(obs={"image": np.zeros((4, 4), np.uint8), "pos": (1.0, 2.0)}, reward=1.0)
    batch = buffer.sample(2)
    assert batch["obs"]["image"].shape == (2, 4, 4)
    assert batch["obs/pos"].shape == (2, 2)
    row = next(iter(batch))
    assert row.reward == 1.0
    assert row.obs["image"].shape == (4, 4)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_bad_priorities_change_nothing(bad: float) -> None:
    buffer = PrioritizedReplayBuffer(capacity=4, alpha=1.0, seed=0)
    handles = buffer.add_batch(rows(2))
    with pytest.raises(InvalidValue, match="finite"):
        buffer.update_priorities(handles, [5.0, bad])
    assert np.allclose(buffer.sample(10).probabilities, 0.5)


def test_an_empty_buffer_says_so() -> None:
    with pytest.raises(NothingToSample, match="empty"):
        ReplayBuffer(capacity=3).sample(1)
    with pytest.raises(NothingToSample, match="empty"):
        ReplayBuffer(Schema({"a": "f4"}), capacity=3).sample(1)


def test_import_loads_no_heavy_package() -> None:
    code = (
        "import sys, memories.replay\n"
        "from memories.replay import ReplayBuffer, PrioritizedReplayBuffer, Schema\n"
        "print([m for m in ('ray', 'torch', 'numba', 'gymnasium', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("limit", [None, 1_000])
def test_a_generator_of_the_callers_draws_in_place_of_the_buffers(limit: int | None) -> None:
    buffer, twin = (ReplayBuffer(capacity=100, max_times_sampled=limit, seed=0) for _ in range(2))
    for each in (buffer, twin):
        each.add_batch({"x": np.arange(100)})
    first, second = (buffer.sample(9, rng=np.random.default_rng(7))["x"].tolist() for _ in range(2))
    assert first == second
    assert buffer.sample(9)["x"].tolist() == twin.sample(9)["x"].tolist()  # its own was left alone
