"""Queues and stacks on real Ray: every row to one reader, in order, and writers that wait for room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.replay import Replay, sink
from memories.errors import DeadlineExceeded, InvalidValue, RateLimited
from memories.replay import Schema

pytestmark = pytest.mark.usefixtures("nothing_left")

SCHEMA = Schema({"row": "int64", "twice": "int64"})

Make = Callable[..., Replay]


@pytest.fixture
def make(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Replay] = []

    def open_one(**options: object) -> Replay:
        made.append(cluster.replay(f"{request.node.name[:50]}-{len(made)}", schema=SCHEMA, **options))
        return made[-1]

    yield open_one
    for replay in made:
        replay.delete()


def rows_from(start: int, stop: int) -> dict[str, np.ndarray]:
    return {"row": np.arange(start, stop), "twice": 2 * np.arange(start, stop)}


def test_every_row_goes_to_one_reader_while_the_writer_waits_for_room(make: Make) -> None:
    """Ten times as many rows as there is room for, three readers in other processes, and one in a drain."""
    replay = make(kind="queue", capacity=1_000, shards=2)
    total, drained = 12_000, threading.Event()

    @ray.remote(num_cpus=0)
    def read(replay: Replay, batches: int) -> list[int]:
        found: list[int] = []
        with replay.sampler(50, prefetch=1, timeout_s=60) as reader:
            for _ in range(batches):
                batch = next(reader)
                assert len(batch) == 50
                assert (batch["twice"] == 2 * batch["row"]).all()
                found += batch["row"].tolist()
        return found

    def write() -> None:
        with replay.writer() as writer:
            for start in range(0, total, 40):
                writer.add_batch(rows_from(start, start + 40))
                if start == 4_000:
                    replay.add_shards(1)
                    replay.drain_shard(0, timeout_s=60)
                    drained.set()

    writing = threading.Thread(target=write)
    writing.start()
    readers = [read.remote(replay, total // 50 // 3) for _ in range(3)]
    found = ray.get(readers, timeout=120)
    writing.join(60)
    assert drained.is_set()
    assert not writing.is_alive()
    assert sorted(row for rows in found for row in rows) == list(range(total))
    assert all(len(rows) == total // 3 for rows in found)
    assert len(replay) == 0


def test_a_queue_of_one_shard_keeps_the_order_and_a_stack_turns_it_round(make: Make) -> None:
    queue, stack = make(kind="queue", capacity=600), make(kind="stack", capacity=600)
    for replay in (queue, stack):
        with replay.writer() as writer:
            for start in range(0, 500, 25):
                writer.add_batch(rows_from(start, start + 25))
    with queue.sampler(100) as reader:
        assert np.concatenate([next(reader)["row"] for _ in range(5)]).tolist() == list(range(500))
    assert stack.sample(500)["row"].tolist() == list(range(499, -1, -1))
    assert (len(queue), len(stack)) == (0, 0)


def test_a_full_queue_holds_writers_back_and_loses_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "LIMITED_TIMEOUT_S", 0.5)
    replay = make(kind="queue", capacity=100)
    writer = replay.writer()
    writer.add_batch(rows_from(0, 80))
    with pytest.raises(RateLimited, match=r"queue that is full.* rows are kept"):
        writer.add_batch(rows_from(80, 160))
    with pytest.raises(RateLimited, match=r"[4-8][0-9] rows are kept"):
        writer.flush(0.5)
    taken = [replay.sample(70)["row"]]
    writer.flush(30)  # now there is room
    writer.add_batch(rows_from(160, 200))
    taken += [replay.sample(60)["row"]]
    writer.close()
    taken += [replay.sample(70)["row"]]
    assert np.concatenate(taken).tolist() == list(range(200))


def test_rows_that_came_too_few_are_kept_for_the_next_call(make: Make) -> None:
    replay = make(kind="queue", capacity=100, max_times_sampled=2)
    with replay.writer() as writer:
        writer.add_batch(rows_from(0, 10))
    with pytest.raises(DeadlineExceeded, match="gave 20 of 30 rows"):
        replay.sample(30, timeout_s=1.0)
    assert len(replay) == 0
    with replay.writer() as writer:
        writer.add_batch(rows_from(10, 20))
    assert sorted(replay.sample(40, timeout_s=30)["row"].tolist()) == sorted(2 * list(range(20)))
    with pytest.raises(InvalidValue, match="2 times"):
        replay.drain_shard(0)
    with pytest.raises(InvalidValue, match="beta"):
        replay.sampler(10, beta=0.4)
