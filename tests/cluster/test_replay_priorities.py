"""Priorities on real Ray: in flight, repeated late, and drawn by after a shard gave its rows away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
from scipy import stats

from memories.actors.cluster import Cluster
from memories.actors.names import NAMESPACE
from memories.actors.replay import Replay
from memories.actors.replay.core import events as ev
from memories.replay import Schema
from memories.replay.handles import shard_of

from .replay_chaos import contents

pytestmark = pytest.mark.usefixtures("nothing_left")

SCHEMA = Schema({"row": "int64"})
ROWS = 600


@pytest.fixture
def replay(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Replay]:
    buffer = cluster.replay(
        request.node.name[:60],
        schema=SCHEMA,
        kind="prioritized",
        capacity=ROWS * 6,
        shards=3,
        seed=0,
        alpha=0.7,
    )
    yield buffer
    buffer.delete()


def fill(replay: Replay, priorities: np.ndarray) -> None:
    """A row for each priority; shards get very unequal loads of it."""
    with replay.writer() as writer:
        for turn, stop in enumerate(np.cumsum([95, 5, 50] * 4)):  # the shards take turns
            rows = np.arange(stop - (95, 5, 50)[turn % 3], stop)
            writer.add_batch({"row": rows}, priorities[rows])
            writer.flush()


def priorities_of(replay: Replay) -> np.ndarray:
    """By row; every row is there once."""
    shards = contents(replay, NAMESPACE)
    rows = np.concatenate([rows for rows, _ in shards])
    priorities = np.concatenate([priorities for _, priorities in shards])
    assert np.array_equal(np.sort(rows), np.arange(len(rows)))
    return priorities[np.argsort(rows)]


def handles_by_row(replay: Replay) -> np.ndarray:
    found: dict[int, int] = {}
    with replay.sampler(256, seed=4) as sampler:
        while len(found) < ROWS:
            batch = next(sampler)
            found.update(zip(batch["row"].tolist(), batch.handles.tolist(), strict=True))
    return np.array([found[row] for row in range(ROWS)])


def test_updates_in_flight_stand_in_their_order(replay: Replay) -> None:
    """Thousands of them, of every size, from arrays that the caller writes to again at once."""
    rng = np.random.default_rng(0)
    expected = np.ones(ROWS)
    fill(replay, expected)
    handles = handles_by_row(replay)
    given_handles, given = np.empty(9_000, np.int64), np.empty(9_000)
    total = 0
    with replay.priority_updater() as updater:
        for turn in range(1_500):
            count = 9_000 if turn % 500 == 7 else int(rng.integers(1, 65))
            rows = rng.integers(0, ROWS, count)
            given_handles[:count], given[:count] = handles[rows], rng.random(count) + 0.01
            expected[rows] = given[:count]
            updater.update(given_handles[:count], given[:count])
            given_handles[:], given[:] = -1, np.nan
            total += count
            if turn == 900:
                assert updater.flush() == (total, 0)
                total = 0
        assert updater.flush() == (total, 0)
    assert np.array_equal(priorities_of(replay), expected)


def test_a_late_repetition_lands_on_its_row_or_nowhere(replay: Replay) -> None:
    """Also where the first attempt was answered long ago, and other rows have the slots by now."""
    fill(replay, np.ones(ROWS))
    handles = handles_by_row(replay)
    mine = handles[shard_of(handles) == 0]
    shard = replay._router.primary(0)
    assert shard is not None

    def send() -> Any:
        return ray.get(shard.update.remote(mine, np.full(mine.size, 7.0)), timeout=30)

    assert replay.update_priorities(handles, 3.0) == (ROWS, 0)
    for _ in range(2):
        assert send() == ev.Done(result=(mine.size, 0))
    changed = np.isin(handles, mine)
    assert np.array_equal(priorities_of(replay), np.where(changed, 7.0, 3.0))
    with replay.writer() as writer:  # every slot of every shard gets another row
        for _ in range(12):
            writer.add_batch({"row": np.arange(ROWS)}, 5.0)
    assert send() == ev.Done(result=(0, mine.size))
    for _, priorities in contents(replay, NAMESPACE):
        assert (priorities == 5.0).all()


def test_draws_are_global_after_a_shard_was_drained(replay: Replay) -> None:
    """With shards of unequal load, over Ray: chi-square of the frequencies, and what weights say."""
    rng = np.random.default_rng(3)
    priorities = rng.gamma(0.7, 1.0, ROWS) + 0.05
    fill(replay, priorities)
    loads = {shard.shard: shard.rows for shard in replay.stats().shards}
    assert max(loads.values()) > 2 * min(loads.values())
    replay.drain_shard(1, timeout_s=60)
    replay.add_shards(1)
    replay.drain_shard(0, timeout_s=60)
    assert np.array_equal(priorities_of(replay), priorities)
    truth = priorities**0.7 / (priorities**0.7).sum()
    with replay.sampler(256, beta=1.0, seed=5) as sampler:
        batches = [next(sampler) for _ in range(400)]
    counts = np.bincount(np.concatenate([batch["row"] for batch in batches]), minlength=ROWS)
    assert stats.chisquare(counts, truth * counts.sum()).pvalue > 0.001
    for batch in batches[::50]:
        assert np.allclose(batch.probabilities, truth[batch["row"]])
        assert np.allclose(batch.weights, truth.min() / truth[batch["row"]], rtol=1e-5)
