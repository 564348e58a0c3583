"""Draws over shards of unequal load are those of one buffer: the real shards and samplers, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import stats

from memories.actors.replay import blocks
from memories.actors.replay.core.draws import Mass
from memories.replay import Batch

from .local_shards import LocalShards

BATCHES, BATCH_SIZE = 16, 256


@pytest.fixture
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "result_of", lambda answer, _timeout_s: answer)


@pytest.fixture
def made() -> Iterator[list[LocalShards]]:
    found: list[LocalShards] = []
    yield found
    for shards in found:
        shards.close()


def draw(
    shards: LocalShards,
    rng: np.random.Generator,
    masses: dict[int, Mass] | None = None,
    beta: float = 1.0,
) -> Batch:
    seeds = iter(rng.integers(0, 2**31, 1000).tolist())
    masses = shards.masses() if masses is None else masses
    router: Any = shards
    block = blocks.Block(router, masses, BATCHES, BATCH_SIZE, rng, lambda: next(seeds), 10.0)
    drawn = block.finish(beta)
    assert drawn is not None
    assert len(drawn) == BATCHES * BATCH_SIZE
    return drawn


def fill(shards: LocalShards, rng: np.random.Generator) -> np.ndarray:
    """Shards of very unequal load; returns the priority of each row."""
    priorities: list[np.ndarray] = []
    start = 0
    for i, shard in enumerate(sorted(shards.shards)):
        count = 5 + (i * 37) % 60
        given = rng.gamma(0.7, 1.0, count) * (1 + 5 * (i % 3)) + 0.05
        shards.insert(shard, np.arange(start, start + count), given)
        priorities.append(given)
        start += count
    return np.concatenate(priorities)


def chi_square_p(rows: np.ndarray, probabilities: np.ndarray) -> float:
    counts = np.bincount(rows, minlength=len(probabilities))
    return float(stats.chisquare(counts, probabilities / probabilities.sum() * counts.sum()).pvalue)


@pytest.mark.usefixtures("answers_at_once")
@pytest.mark.parametrize("count", [1, 4, 16])
def test_frequencies_are_those_of_one_buffer(made: list[LocalShards], count: int) -> None:
    rng = np.random.default_rng(count)
    shards = LocalShards(count)
    made.append(shards)
    priorities = fill(shards, rng)
    truth = priorities**0.7 / (priorities**0.7).sum()
    drawn = [draw(shards, rng) for _ in range(30)]
    rows = np.concatenate([batch["row"] for batch in drawn])
    assert chi_square_p(rows, truth) > 0.001
    for batch in drawn[:3]:
        assert np.allclose(batch.probabilities, truth[batch["row"]])
        assert np.allclose(batch.weights, truth.min() / truth[batch["row"]], rtol=1e-5)
        assert batch.population == len(truth)
    # Every single batch is a draw over all shards, not of one of them.
    single = [part for batch in drawn for part in batch.split(BATCH_SIZE)]
    share = truth[:2].sum()
    hits = np.array([(part["row"] < 2).sum() for part in single])
    expected_variance = BATCH_SIZE * share * (1 - share)
    assert 0.75 < hits.var() / expected_variance < 1.3


@pytest.mark.usefixtures("answers_at_once")
def test_frequencies_are_right_after_shards_came_and_went(made: list[LocalShards]) -> None:
    rng = np.random.default_rng(8)
    shards = LocalShards(4)
    made.append(shards)
    priorities = fill(shards, rng)
    shards.add_shard(4)
    # The rows of shard 1 go over to the new one, with their priorities.
    moved = shards.shards.pop(1)._core.rows.buffer
    handles = moved.handles()
    rows = moved.read(handles)[0]["row"]
    shards.insert(4, rows, moved.priorities_of(handles))
    truth = priorities**0.7 / (priorities**0.7).sum()
    drawn = np.concatenate([draw(shards, rng)["row"] for _ in range(30)])
    assert chi_square_p(drawn, truth) > 0.001


@pytest.mark.usefixtures("answers_at_once")
@pytest.mark.parametrize("wrong", ["old sums", "zero", "empty", "away"])
def test_weighted_sums_are_right_whatever_the_sampler_believes(made: list[LocalShards], wrong: str) -> None:
    """Sums are old, 0, or of a shard that is empty or gone: the weights make up for it."""
    rng = np.random.default_rng(11)
    shards = LocalShards(4)
    made.append(shards)
    priorities = fill(shards, rng)
    rows = np.arange(len(priorities))
    value = np.sin(rows) + 2
    masses = shards.masses()
    there = np.ones(len(rows), bool)
    if wrong == "old sums":
        masses = {shard: Mass(m.total * 3 ** (shard - 2), m.rows, m.smallest) for shard, m in masses.items()}
    elif wrong == "zero":
        masses[2] = Mass(0.0, 0, np.inf)
    elif wrong == "empty":
        shards.add_shard(4)
        masses[4] = Mass(50.0, 10, 1.0)
    else:
        masses = shards.masses()
        buffer = shards.shards[3]._core.rows.buffer
        there[buffer.read(buffer.handles())[0]["row"]] = False
        shards.away.add(3)
    estimates = []
    for _ in range(200):
        batch = draw(shards, rng, masses)
        estimates.append(np.mean(value[batch["row"]] / batch.probabilities))
        assert batch.weights.max() <= 1.0
    truth = value[there].sum()
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 3 * error


@pytest.mark.usefixtures("answers_at_once")
def test_weighted_sums_are_right_while_priorities_change(made: list[LocalShards]) -> None:
    """The sampler always works with sums of three updates ago, as one that has blocks in flight does."""
    rng = np.random.default_rng(12)
    shards = LocalShards(4)
    made.append(shards)
    priorities = fill(shards, rng)
    rows = np.arange(len(priorities))
    value = np.cos(rows) + 2
    known = [shards.masses()] * 4
    estimates = []
    for _ in range(300):
        batch = draw(shards, rng, known[0])
        estimates.append(np.mean(value[batch["row"]] / batch.probabilities))
        chosen = rng.integers(0, len(batch), 64)
        shards.update(batch.handles[chosen], rng.gamma(0.5, 2.0, 64) + 0.02)
        known = [*known[1:], shards.masses()]
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - value.sum()) < 3 * error


@pytest.mark.usefixtures("answers_at_once")
def test_uniform_shards_are_drawn_by_their_size(made: list[LocalShards]) -> None:
    rng = np.random.default_rng(4)
    shards = LocalShards(3, "uniform")
    made.append(shards)
    for shard, (start, stop) in enumerate([(0, 5), (5, 80), (80, 100)]):
        shards.insert(shard, np.arange(start, stop), None)
    drawn = [draw(shards, rng) for _ in range(10)]
    assert chi_square_p(np.concatenate([b["row"] for b in drawn]), np.ones(100)) > 0.001
    assert np.allclose(drawn[0].probabilities, 0.01)
    assert np.allclose(drawn[0].weights, 1)


@pytest.mark.usefixtures("answers_at_once")
def test_equal_seeds_give_equal_draws(made: list[LocalShards]) -> None:
    results = []
    for _ in range(2):
        shards = LocalShards(4)
        made.append(shards)
        fill(shards, np.random.default_rng(1))
        results.append(draw(shards, np.random.default_rng(2)).handles)
    assert np.array_equal(*results)
