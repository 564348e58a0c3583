"""Ordered samplers, removers, rate limiters, and rows that may be drawn only so often."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memories.errors import InvalidValue, NothingToSample, RateLimited
from memories.replay import (
    FifoSampler,
    HighestPriorityRemover,
    LifoSampler,
    LowestPriorityRemover,
    MaxHeapSampler,
    MinHeapSampler,
    MinSize,
    NewestRemover,
    PrioritizedReplayBuffer,
    Queue,
    ReplayBuffer,
    SamplesPerInsert,
    Selector,
    UniformRemover,
    make_buffer,
)
from memories.replay.rate_limiters import Counters


def numbered(count: int, start: int = 0) -> dict[str, np.ndarray]:
    return {"n": np.arange(start, start + count)}


def test_fifo_and_lifo_order() -> None:
    fifo = ReplayBuffer(capacity=10, sampler=FifoSampler())
    lifo = ReplayBuffer(capacity=10, sampler=LifoSampler())
    for buffer in (fifo, lifo):
        buffer.add_batch(numbered(14))
    assert fifo.sample(4)["n"].tolist() == [4, 5, 6, 7]
    assert lifo.sample(4)["n"].tolist() == [13, 12, 11, 10]
    with pytest.raises(NothingToSample, match="11 rows were asked for, 10 are stored"):
        fifo.sample(11)


@pytest.mark.parametrize(("sampler", "sign"), [(MinHeapSampler, 1), (MaxHeapSampler, -1)])
def test_heaps_against_sorting(sampler: type[Selector], sign: int) -> None:
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(capacity=5000, sampler=sampler())
    handles = buffer.add_batch(numbered(5000), rng.random(5000))
    for _ in range(20):
        priorities = rng.random(400)
        chosen = rng.choice(5000, 400, replace=False)
        buffer.update_priorities(handles[chosen], priorities)
        expected = np.argsort(sign * buffer._priorities)
        for count in (1, 7, 4999, 5000):
            assert buffer.sample(count)["n"].tolist() == expected[:count].tolist()


@pytest.mark.parametrize(
    ("remover", "left"),
    [
        (NewestRemover, {0, 1, 2, 3, 4, 5, 8, 9}),
        (LowestPriorityRemover, {2, 3, 4, 5, 6, 7, 8, 9}),
        (HighestPriorityRemover, {0, 1, 2, 3, 4, 5, 8, 9}),
    ],
)
def test_removers(remover: type[Selector], left: set[int]) -> None:
    buffer = ReplayBuffer(capacity=8, remover=remover(), seed=0)
    buffer.add_batch(numbered(8), np.arange(8.0) if remover is not NewestRemover else None)
    buffer.add_batch(numbered(2, 8))
    assert set(buffer.sample(400)["n"].tolist()) == left


def test_with_a_uniform_remover_the_past_fades() -> None:
    counts = np.zeros(40)
    for seed in range(400):
        buffer = ReplayBuffer(capacity=10, remover=UniformRemover(), seed=seed)
        for n in range(40):
            buffer.add(n=n)
        counts[buffer._columns.views["n"][buffer._slots.live()]] += 1
    # A row that came at step n survives the 40 - n - 1 later evictions with 0.9 each; the last always.
    expected = 400 * 0.9 ** np.arange(39, -1, -1.0)
    expected[:10] = 400 * 0.9**30
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected) + 1).all()


def test_a_queue_hands_out_every_row_once_and_holds_writers_back() -> None:
    queue = make_buffer("queue", capacity=6)
    queue.add_batch(numbered(6))
    with pytest.raises(RateLimited, match="insert of 1 rows: 6 rows are stored"):
        queue.add(n=6)
    assert queue.sample(4)["n"].tolist() == [0, 1, 2, 3]
    queue.add_batch(numbered(4, 6))
    assert queue.sample(6)["n"].tolist() == [4, 5, 6, 7, 8, 9]
    assert len(queue) == 0
    with pytest.raises(NothingToSample, match="empty"):
        queue.sample(1)


def test_a_stack_hands_out_the_newest_first() -> None:
    stack = make_buffer("stack", capacity=6)
    stack.add_batch(numbered(4))
    assert stack.sample(2)["n"].tolist() == [3, 2]
    stack.add(n=9)
    assert stack.sample(3)["n"].tolist() == [9, 1, 0]


@pytest.mark.parametrize("prioritized", [False, True])
def test_no_row_is_drawn_more_often_than_allowed(prioritized: bool) -> None:
    kind = PrioritizedReplayBuffer if prioritized else ReplayBuffer
    buffer = kind(capacity=50, max_times_sampled=3, seed=0)
    buffer.add_batch(numbered(50))
    drawn = np.concatenate([buffer.sample(20)["n"] for _ in range(7)])
    last = buffer.sample(20)
    assert len(last) == 10  # the rows are used up
    assert (np.bincount(np.concatenate([drawn, last["n"]])) == 3).all()
    assert len(buffer) == 0


def test_handles_of_rows_that_left_with_their_batch_are_stale() -> None:
    buffer = PrioritizedReplayBuffer(capacity=4, max_times_sampled=1, seed=0)
    handles = buffer.add_batch(numbered(4))
    batch = buffer.sample(2)
    assert np.isin(batch.handles, handles).all()
    assert buffer.update_priorities(batch.handles, 1.0) == (0, 2)


def test_samples_per_insert() -> None:
    limiter = SamplesPerInsert(ratio=2.0, min_size=10, tolerance=20.0)
    assert limiter.may_insert(Counters(0, 0, 0), 10)
    assert not limiter.may_sample(Counters(9, 9, 0), 1)
    assert limiter.may_sample(Counters(10, 10, 0), 20)
    assert not limiter.may_sample(Counters(10, 10, 0), 21)
    assert limiter.may_insert(Counters(10, 10, 0), 10)
    assert not limiter.may_insert(Counters(10, 10, 0), 11)
    with pytest.raises(InvalidValue, match="block each other"):
        SamplesPerInsert(ratio=8.0, min_size=1, tolerance=4.0)


@pytest.mark.parametrize("limiter", [MinSize(11), Queue(11), SamplesPerInsert(1.0, min_size=11)])
def test_limits_that_can_never_be_met_are_refused(limiter: MinSize) -> None:
    with pytest.raises(InvalidValue, match="capacity of 10"):
        ReplayBuffer(capacity=10, rate_limiter=limiter)


def test_a_waiting_sampler_is_woken_by_an_insert() -> None:
    buffer = ReplayBuffer(capacity=10, rate_limiter=MinSize(3), timeout_s=20.0)
    buffer.add_batch(numbered(2))
    found: list[int] = []
    sampler = threading.Thread(target=lambda: found.append(len(buffer.sample(5))))
    sampler.start()
    buffer.add(n=2)
    sampler.join(timeout=20.0)
    assert found == [5]
    impatient = ReplayBuffer(capacity=10, rate_limiter=MinSize(3), timeout_s=0.01)
    impatient.add(n=0)
    with pytest.raises(RateLimited, match="1 rows are stored"):
        impatient.sample(1)


def test_priorities_for_a_buffer_that_has_none_are_refused() -> None:
    buffer = ReplayBuffer(capacity=4)
    handles = buffer.add_batch(numbered(2))
    for call in (
        lambda: buffer.add(1.0, n=3),
        lambda: buffer.add_batch(numbered(2), [1.0, 2.0]),
        lambda: buffer.update_priorities(handles, 1.0),
        lambda: buffer.priorities_of(handles),
    ):
        with pytest.raises(InvalidValue, match="has no priorities"):
            call()
    assert len(buffer) == 2


def test_a_sampler_serves_one_buffer() -> None:
    sampler = FifoSampler()
    ReplayBuffer(capacity=4, sampler=sampler).add(n=1)
    with pytest.raises(InvalidValue, match="already serves"):
        ReplayBuffer(capacity=4, sampler=sampler).add(n=1)


def test_a_waiting_writer_goes_on_when_the_ring_has_got_holes_meanwhile() -> None:
    """The insert waits at the limiter; a removal from the middle changes how slots are handed out."""
    buffer = ReplayBuffer(capacity=8, rate_limiter=Queue(8), timeout_s=20.0)
    handles = buffer.add_batch(numbered(8))
    added: list[int] = []
    writer = threading.Thread(target=lambda: added.append(buffer.add(n=8)))
    writer.start()
    assert buffer.remove(handles[3]) == 1
    writer.join(timeout=20.0)
    assert buffer.read(added)[0]["n"].tolist() == [8]
    assert buffer.read(buffer.handles())[0]["n"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
