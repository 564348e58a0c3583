"""Frequencies of draws against theory: chi-square, at least a million draws a case, fixed seeds.

A right implementation fails one of these with probability 0.001; the seeds are fixed, so they do not.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from memories.replay import (
    EpisodeSampler,
    LinearSchedule,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SequenceSampler,
    compiled,
)

DRAWS = 1_000_000
BATCH = 50_000
ROWS = 500


def assert_frequencies(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
    """Chi-square over all cells; those that expect fewer than 5 draws are put together."""
    assert (counts[probabilities == 0] == 0).all()
    assert counts.sum() >= DRAWS
    expected = probabilities / probabilities.sum() * counts.sum()
    rare = expected < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] == 0:
        observed, expected = observed[:-1], expected[:-1]
    if expected.size == 1:
        assert observed[0] == expected[0]
        return
    assert stats.chisquare(observed, expected).pvalue > 0.001


def count(buffer: ReplayBuffer, column: str, cells: int) -> NDArray[np.int64]:
    counts = np.zeros(cells, dtype=np.int64)
    for _ in range(DRAWS // BATCH):
        drawn = buffer.sample(BATCH)[column]
        counts += np.bincount(drawn if drawn.ndim == 1 else drawn[:, 0], minlength=cells)
    return counts


PRIORITIES = {
    "flat": np.full(ROWS, 2.5),
    "skewed": 1.0 / np.arange(1, ROWS + 1),
    "one hot": np.eye(1, ROWS, 123)[0],
    "mixed zero": np.arange(ROWS) % 3 * np.linspace(0.1, 10, ROWS),
    "sixteen decades": 10.0 ** np.linspace(-8, 8, ROWS),
}


@pytest.mark.parametrize("alpha", [0.6, 1.0])
@pytest.mark.parametrize("case", PRIORITIES)
def test_prioritized_frequencies(case: str, alpha: float) -> None:
    priorities = PRIORITIES[case]
    buffer = PrioritizedReplayBuffer(capacity=ROWS, alpha=alpha, seed=12)
    handles = buffer.add_batch({"n": np.arange(ROWS)})
    assert buffer.update_priorities(handles, priorities).applied == ROWS
    assert_frequencies(count(buffer, "n", ROWS), np.where(priorities > 0, priorities**alpha, 0.0))


def test_prioritized_frequencies_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled.load()
    monkeypatch.setattr(compiled, "_loaded", None)
    test_prioritized_frequencies("skewed", 0.6)


def test_prioritized_frequencies_after_a_million_updates_and_overwrites() -> None:
    rng = np.random.default_rng(3)
    buffer = PrioritizedReplayBuffer(capacity=ROWS, alpha=0.6, seed=4)
    current = np.zeros(ROWS)
    handles = np.zeros(ROWS, dtype=np.int64)
    at, changes = 0, 0
    while changes < 1_000_000:
        fresh = int(rng.integers(1, 200))
        numbers = np.arange(at, at + fresh) % ROWS
        given = rng.exponential(2.0, fresh)
        handles[numbers] = buffer.add_batch({"n": numbers}, given)
        current[numbers] = given
        at += fresh
        if at >= ROWS:
            chosen = rng.integers(0, ROWS, 4_000)
            values = rng.exponential(1.0, 4_000) * (rng.random(4_000) < 0.9)
            assert buffer.update_priorities(handles[chosen], values).stale == 0
            current[chosen] = values  # NumPy lets the last of repeated indices stand, as the buffer does
            changes += 4_000
        changes += fresh
    assert_frequencies(count(buffer, "n", ROWS), np.where(current > 0, current**0.6, 0.0))


def test_uniform_frequencies_in_a_full_ring_a_half_full_one_and_one_with_holes() -> None:
    full, half, holes = (ReplayBuffer(capacity=ROWS, seed=s) for s in (1, 2, 3))
    full.add_batch({"n": np.arange(ROWS + 123) % ROWS})
    half.add_batch({"n": np.arange(ROWS // 2)})
    handles = holes.add_batch({"n": np.arange(ROWS)})
    holes.remove(handles[::3])
    holes.add_batch({"n": np.arange(0, 60, 3)})
    for buffer in (full, half, holes):
        there = np.zeros(ROWS)
        there[buffer.read(buffer.handles())[0]["n"]] = 1.0
        assert there.sum() == len(buffer)
        assert_frequencies(count(buffer, "n", ROWS), there)


def test_sequence_and_episode_frequencies() -> None:
    rng = np.random.default_rng(5)
    number = np.arange(ROWS)
    done = rng.random(ROWS) < 0.08
    done[-1] = True
    episode = np.concatenate([[0], np.cumsum(done)[:-1]])
    sequences = ReplayBuffer(capacity=ROWS, sampler=SequenceSampler(5), seed=6)
    episodes = ReplayBuffer(capacity=ROWS, sampler=EpisodeSampler(), seed=7)
    for buffer in (sequences, episodes):
        buffer.add_batch({"n": number, "episode": episode, "done": done})
    starts = np.zeros(ROWS)
    starts[:-4] = episode[4:] == episode[:-4]
    assert_frequencies(count(sequences, "n", ROWS), starts)
    drawn = np.zeros(episode[-1] + 1, dtype=np.int64)
    for _ in range(100):
        batch = episodes.sample(DRAWS // 100)
        drawn += np.bincount(batch["episode"][np.cumsum(batch.lengths) - 1], minlength=drawn.size)
    assert_frequencies(drawn, np.ones(drawn.size))


@pytest.mark.parametrize("case", ["flat", "skewed", "sixteen decades"])
def test_weighted_means_are_unbiased(case: str) -> None:
    """At beta = 1 the weighted mean of anything is its mean over the buffer, within three standard errors."""
    rng = np.random.default_rng(8)
    value = rng.normal(3.0, 2.0, ROWS)
    priorities = np.clip(PRIORITIES[case], 1e-2, 1e2)
    buffer = PrioritizedReplayBuffer(capacity=ROWS, alpha=0.6, seed=9)
    buffer.update_priorities(buffer.add_batch({"value": value}), priorities)
    estimates = []
    for _ in range(DRAWS // BATCH):
        batch = buffer.sample(BATCH, beta=1.0)
        # The weights are over their largest possible value: (N p_min)^-1.
        smallest = priorities.min() ** 0.6 / (priorities**0.6).sum()
        estimates.append(batch.weights.astype(np.float64) * batch["value"] / (ROWS * smallest))
        assert np.allclose(batch.weights, smallest / batch.probabilities, rtol=1e-6)
    estimate = np.concatenate(estimates)
    error = estimate.std() / np.sqrt(estimate.size)
    assert abs(estimate.mean() - value.mean()) < 3 * error
    assert batch.weights.max() <= 1.0


def test_the_alpha_schedule_reaches_the_frequencies() -> None:
    priorities = PRIORITIES["skewed"]
    buffer = PrioritizedReplayBuffer(
        capacity=ROWS, alpha=LinearSchedule(1.0, 0.0, 10), beta=LinearSchedule(0.4, 1.0, 10), seed=2
    )
    buffer.update_priorities(buffer.add_batch({"n": np.arange(ROWS)}), priorities)
    first = buffer.sample(10)
    assert np.allclose(first.probabilities, (priorities / priorities.sum())[first["n"]])
    for _ in range(10):
        last = buffer.sample(10)
    assert np.allclose(last.probabilities, 1 / ROWS)
    assert_frequencies(count(buffer, "n", ROWS), np.ones(ROWS))
