"""A replay buffer on real Ray: written, sampled and weighted from several processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import ray

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.names import NAMESPACE
from memories.actors.replay import Replay
from memories.errors import DeadlineExceeded, InvalidValue, KeyNotFound, NotEnoughNodes
from memories.replay import Schema

from .conftest import wait_until
from .replay_chaos import contents

pytestmark = pytest.mark.usefixtures("nothing_left")

SCHEMA = Schema({"obs": ((4,), "float32"), "row": "int64", "reward": "float32"})


@pytest.fixture
def replay(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Replay]:
    name = request.node.name.partition("[")[0][:60]
    buffer = cluster.replay(name, schema=SCHEMA, kind="prioritized", capacity=10_000, shards=2, seed=0)
    yield buffer
    buffer.delete()


def rows_from(start: int, count: int) -> dict[str, np.ndarray]:
    row = np.arange(start, start + count)
    return {"obs": np.repeat(row[:, None], 4, 1).astype("f4"), "row": row, "reward": row.astype("f4")}


def test_rows_from_tasks_arrive_once_and_come_back_whole(replay: Replay) -> None:
    @ray.remote
    def work(replay: Replay, start: int) -> int:
        with replay.writer() as writer:
            for i in range(start, start + 500):
                writer.add(obs=np.full(4, i, "f4"), row=i, reward=np.float32(i))
            writer.add_batch(rows_from(start + 500, 500))
        return writer.waiting_rows

    assert ray.get([work.remote(replay, n * 1000) for n in range(3)], timeout=60) == [0, 0, 0]
    assert len(replay) == 3000
    stats = replay.stats()
    assert stats.inserted == 3000
    assert all(shard.rows > 0 for shard in stats.shards)
    sampler = replay.sampler(batch_size=128, seed=1)
    seen: set[int] = set()
    for _ in range(200):
        batch = next(sampler)
        assert len(batch) == 128
        assert (batch["obs"] == batch["row"][:, None]).all()
        assert (batch["reward"] == batch["row"]).all()
        assert np.allclose(batch.weights, 1)
        assert np.allclose(batch.probabilities, 1 / 3000, rtol=1e-6)
        seen.update(batch["row"].tolist())
    assert seen <= set(range(3000))
    assert len(seen) > 2900
    sampler.close()


def test_priorities_find_their_rows_and_stale_ones_are_counted(replay: Replay) -> None:
    with replay.writer() as writer:
        writer.add_batch(rows_from(0, 1000))
    batch = replay.sample(256)
    wanted = batch["row"] == batch["row"][0]
    result = replay.update_priorities(batch.handles, np.where(wanted, 1e9, 1e-3))
    assert (result.applied, result.stale) == (256, 0)
    drawn = replay.sample(64, beta=1.0)
    assert (drawn["row"] == batch["row"][0]).mean() > 0.8
    with replay.writer() as writer:
        writer.add_batch(rows_from(1000, 30_000))  # more than there is room for: the first rows are gone
    again = replay.update_priorities(batch.handles, 1.0)
    assert (again.applied, again.stale) == (0, 256)
    assert len(replay) == 10_000


def test_a_buffer_is_found_by_its_name_and_its_handle_travels(replay: Replay, cluster: Cluster) -> None:
    copy = pickle.loads(pickle.dumps(replay))
    with copy.writer() as writer:
        writer.add_batch(rows_from(0, 10))
    found = cluster.replay(replay.name)
    assert len(found) == 10
    assert found.spec == replay.spec
    with pytest.raises(InvalidValue, match="capacity=10000, not 5"):
        cluster.replay(replay.name, schema=SCHEMA, capacity=5)
    with pytest.raises(InvalidValue, match="no 'shard'"):
        cluster.replay(replay.name, schema=SCHEMA, shard=5)
    with pytest.raises(KeyNotFound, match="absent"):
        cluster.replay("absent")
    with pytest.raises(NotEnoughNodes, match="allow_degraded"):
        cluster.replay("two", schema=SCHEMA, replicas=2)


def test_bad_rows_are_refused_before_they_are_numbered(replay: Replay) -> None:
    with replay.writer() as writer:
        with pytest.raises(InvalidValue):
            writer.add_batch({"obs": np.zeros((3, 5), "f4"), "row": np.arange(3), "reward": np.zeros(3)})
        writer.add_batch(rows_from(0, 3))
    assert len(replay) == 3


def test_one_batch_as_large_as_the_buffer_is_spread_over_the_shards(replay: Replay) -> None:
    columns = rows_from(0, 10_000)
    with replay.writer() as writer:
        writer.add_batch(columns, np.arange(10_000) + 1.0)
        columns["row"][:] = -1  # the writer has its own copy
    assert contents_of(replay) == {(row, row + 1.0) for row in range(10_000)}


def test_single_rows_and_batches_of_one_writer_go_out_together(cluster: Cluster) -> None:
    replay = cluster.replay("together", schema=SCHEMA, kind="prioritized", capacity=1_000, shards=1)
    with replay.writer(batch_size=10) as writer:
        for start in range(0, 90, 30):
            for row in range(start, start + 25):
                writer.add(obs=np.full(4, row, "f4"), row=row, reward=np.float32(row))
            writer.add_batch(rows_from(start + 25, 5))
    ((rows, _),) = contents(replay, NAMESPACE)
    assert sorted(rows.tolist()) == list(range(90))
    replay.delete()


def test_an_empty_buffer_says_so_when_the_time_is_up(replay: Replay) -> None:
    with pytest.raises(DeadlineExceeded, match="empty"):
        replay.sample(8, timeout_s=0.5)


def test_n_steps_are_made_in_the_writer(cluster: Cluster) -> None:
    schema = Schema(
        {
            "obs": "float32",
            "reward": "float32",
            "next_obs": "float32",
            "terminated": "bool",
            "truncated": "bool",
            "discount": "float32",
        }
    )
    replay = cluster.replay("nstep", schema=schema, capacity=100)
    with replay.writer(n_step=3, gamma=0.5) as writer:
        for t in range(10):
            writer.add(
                obs=np.float32(t),
                reward=np.float32(1),
                next_obs=np.float32(t + 1),
                terminated=t == 9,
                truncated=False,
            )
    batch = replay.sample(64)
    inner = batch["obs"] <= 6
    assert np.allclose(batch["reward"][inner], 1.75)
    assert np.allclose(batch["next_obs"][inner], batch["obs"][inner] + 3)
    assert (batch["discount"] == np.where(batch["next_obs"] == 10, 0, 0.125)).all()
    replay.delete()


def contents_of(replay: Replay) -> set[tuple[int, float]]:
    """Rows with their priorities, of all shards."""
    found = [pair for shard in contents(replay, NAMESPACE) for pair in zip(*shard, strict=True)]
    assert len(set(found)) == len(found)
    return {(int(row), float(priority)) for row, priority in found}


def test_shards_show_themselves_in_the_status(replay: Replay, cluster: Cluster) -> None:
    with replay.writer() as writer:
        writer.add_batch(rows_from(0, 500))
    wait_until(lambda: [b.rows for b in cluster.status().replay if b.name == replay.name] == [500], 20)


def test_shards_are_added_and_drained_while_rows_come_in(replay: Replay) -> None:
    expected = set()
    with replay.writer() as writer:
        for start in range(0, 3_000, 50):
            writer.add_batch(rows_from(start, 50), priorities=np.arange(start, start + 50) + 1.0)
            expected |= {(row, row + 1.0) for row in range(start, start + 50)}
            if start == 1_000:
                replay.add_shards(1)
            if start == 2_000:
                replay._router.ask_directory(Deadline.after(30, "draining"), "drain_shard", replay.name, 0)
    replay.drain_shard(0, timeout_s=60)
    layout = replay.stats().layout
    assert layout.open_shards == (1, 2)
    assert contents_of(replay) == expected
    with replay.sampler(64, timeout_s=30) as sampler:
        for _ in range(20):
            assert set(next(sampler)["row"].tolist()) <= set(range(3_000))
    replay.drain_shard(1, timeout_s=60)
    assert contents_of(replay) == expected
    with pytest.raises(InvalidValue, match="last one"):
        replay.drain_shard(2)
