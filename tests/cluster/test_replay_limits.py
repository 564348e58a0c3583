"""Samples per insert over the whole cluster, and a sampler that nobody empties."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.replay import Replay
from memories.errors import InvalidValue, RateLimited
from memories.replay import Schema
from tests.cluster.conftest import wait_until

SCHEMA = Schema({"obs": ((4,), "float32"), "row": "int64"})
RATIO, TOLERANCE, BATCH = 2.0, 4_000.0, 128


def rows_of(count: int) -> dict[str, np.ndarray]:
    return {"obs": np.zeros((count, 4), "f4"), "row": np.arange(count)}


@ray.remote(num_cpus=0, max_concurrency=2)
class Worker:
    """Inserts or samples as fast as it may, until it is killed."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._done = 0
        self._stopped = False

    def write(self) -> None:
        writer = self._replay.writer()
        while not self._stopped:
            writer.add_batch(rows_of(32))
            self._done += 32
        # What waits for a lease is not flushed: the learners may have ended before.

    def learn(self) -> None:
        sampler = self._replay.sampler(batch_size=BATCH)
        while not self._stopped:
            self._done += len(next(sampler))

    def stop(self) -> int:
        self._stopped = True
        return self._done

    def done(self) -> int:
        return self._done


@pytest.fixture
def limited(cluster: Cluster) -> Iterator[Replay]:
    replay = cluster.replay(
        "limited",
        schema=SCHEMA,
        capacity=50_000,
        shards=2,
        samples_per_insert=RATIO,
        min_size=1_000,
        tolerance=TOLERANCE,
    )
    yield replay
    replay.delete()


def counts(replay: Replay) -> np.ndarray:
    stats = replay.stats()
    return np.array([stats.inserted, stats.sampled])


def hold_the_ratio(replay: Replay, seconds: float) -> None:
    writers = [Worker.remote(replay) for _ in range(4)]
    learners = [Worker.remote(replay) for _ in range(2)]
    running = [w.write.remote() for w in writers] + [w.learn.remote() for w in learners]
    try:
        wait_until(lambda: counts(replay)[1] > 0, 60)
        began = counts(replay)
        ends_s = time.monotonic() + seconds / 2
        wait_until(lambda: time.monotonic() > ends_s, seconds)
        # Neither a dead writer nor a dead learner blocks the rest.
        ray.kill(writers[0])
        ray.kill(learners[0])
        at_death = counts(replay)
        # Their leases end in 5 s; from then on the others have everything to themselves.
        wait_until(lambda: bool((counts(replay) > at_death + 2 * TOLERANCE).all()), 60)
        ends_s = time.monotonic() + seconds / 2
        wait_until(lambda: time.monotonic() > ends_s, seconds)
        inserted, sampled = counts(replay) - began
        now = counts(replay)
    finally:
        for worker in [*writers, *learners]:
            ray.kill(worker)
        del running
    # The two counters are read one shard after the other, so a little moves in between.
    balance = now[0] * RATIO - now[1]
    assert abs(balance - 1_000 * RATIO) <= TOLERANCE + 4_000
    assert sampled > 50 * TOLERANCE / 4, "too little happened to judge"
    assert abs(sampled / (inserted * RATIO) - 1) < max(0.02, 2 * TOLERANCE / sampled)


def test_samples_per_insert_hold_although_workers_die(limited: Replay) -> None:
    hold_the_ratio(limited, 8)


@pytest.mark.soak
def test_samples_per_insert_hold_for_a_minute(limited: Replay) -> None:
    hold_the_ratio(limited, 60)


def test_who_is_alone_waits_and_is_told(limited: Replay) -> None:
    writer = limited.writer()

    # The balance may be 2,000 + 4,000 samples: 3,000 rows and no more without a sampler.
    def insert_for_ever() -> None:
        while True:
            writer.add_batch(rows_of(100))
            writer.flush(timeout_s=1.5)

    with pytest.raises(RateLimited, match="held back this writer"):
        insert_for_ever()
    assert 2_000 <= len(limited) <= 3_000
    with limited.sampler(batch_size=BATCH, timeout_s=3) as sampler:
        with pytest.raises(RateLimited, match="held back this sampler"):
            collections.deque(sampler, maxlen=0)
        assert sampler.handed_out * BATCH >= 4_000
    writer.flush()  # there is room again for what was kept
    assert writer.waiting_rows == 0


def test_a_batch_beyond_the_tolerance_is_refused(limited: Replay) -> None:
    with pytest.raises(InvalidValue, match="tolerance"):
        limited.sampler(batch_size=3_000)


def test_a_learner_that_falls_behind_fills_no_object_store(cluster: Cluster) -> None:
    """Budgets are kept, whatever the sizes, and nothing spills."""
    schema = Schema({"image": ((84, 84), "uint8"), "row": "int64"})
    replay = cluster.replay("images", schema=schema, capacity=4_000, shards=2)
    with replay.writer() as writer:
        for _ in range(8):
            writer.add_batch({"image": np.zeros((500, 84, 84), "u1"), "row": np.arange(500)})
    budget = 24 << 20
    before = store_bytes()
    for options in ({}, {"prefetch": 8}, {"batches_a_call": 64}, {"prefetch": 50, "batches_a_call": 1}):
        with replay.sampler(batch_size=256, prefetch_bytes=budget, **options) as sampler:
            for _ in range(12):  # and then the learner is busy with something else
                next(sampler)
            most = 0
            ends_s = time.monotonic() + 1.0
            while time.monotonic() < ends_s:
                most = max(most, store_bytes() - before)
                assert sampler.bytes_ahead <= budget
        assert most <= budget + (4 << 20), options
        wait_until(lambda: store_bytes() - before < 4 << 20, 20)
    assert spilled_bytes() == 0
    replay.delete()


def store_bytes() -> int:
    """Bytes in the object store that somebody still refers to: what is free leaves it within a second."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    reply: Any = get_memory_info_reply(get_state_from_address())
    return int(reply.store_stats.object_store_bytes_primary_copy)


def spilled_bytes() -> int:
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    reply: Any = get_memory_info_reply(get_state_from_address())
    return int(reply.store_stats.spilled_bytes_total)
