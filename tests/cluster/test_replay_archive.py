"""Old rows in the cold tier of the cluster, and back: every row once, with its priority."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE
from memories.actors.replay import Replay
from memories.actors.replay import archive as archive_module
from memories.actors.replay.routing import ask_shard
from memories.errors import InvalidValue
from memories.replay import Schema

from .replay_chaos import contents

SCHEMA = Schema({"row": "int64", "obs": ((30,), "float32")})
ROWS = 3_000


@pytest.fixture
def replay(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Replay]:
    buffer = cluster.replay(
        request.node.name[:60], schema=SCHEMA, kind="prioritized", capacity=2 * ROWS, shards=2, seed=0
    )
    with buffer.writer() as writer:
        writer.add_batch(rows_from(0, ROWS), np.arange(ROWS) + 1.0)
    yield buffer
    buffer.delete()


@pytest.fixture
def memory(cluster: Cluster) -> MemoryManager:
    return cluster.memory()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "BLOCK_BYTES", 300 * SCHEMA.row_nbytes)


def rows_from(start: int, stop: int) -> dict[str, np.ndarray]:
    row = np.arange(start, stop)
    return {"row": row, "obs": np.repeat(row[:, None], 30, 1).astype("f4")}


def held(replay: Replay) -> set[tuple[int, float]]:
    """Rows with their priorities; none is there twice."""
    pairs = [pair for shard in contents(replay, NAMESPACE) for pair in zip(*shard, strict=True)]
    assert len(set(pairs)) == len(pairs)
    return {(int(row), float(priority)) for row, priority in pairs}


EVERYTHING = {(row, row + 1.0) for row in range(ROWS)}


def test_old_rows_go_to_the_cold_tier_and_come_back(replay: Replay, memory: MemoryManager) -> None:
    archive = replay.archive(memory)
    assert archive.put_away(1_001) == 1_001
    assert (len(replay), len(archive)) == (ROWS - 1_001, 1_001)
    keys = memory.keys(f"replay-archive/{replay.name}/")
    assert len(keys) == len(archive.blocks()) == 4
    assert {memory.get_tier(key) for key in keys} == {"cold"}
    read = []
    for batch in archive:
        assert (batch["obs"] == batch["row"][:, None]).all()
        read += batch["row"].tolist()
    kept = held(replay)
    assert sorted(read) == sorted(set(range(ROWS)) - {row for row, _ in kept})
    for shard_rows, _ in contents(replay, NAMESPACE):  # the oldest of each shard went
        assert min(shard_rows) > 300
    assert archive.bring_back(10) > 0
    assert replay.archive(memory).bring_back() < 1_001  # another process goes on
    assert held(replay) == EVERYTHING
    assert len(archive) == 0
    assert archive.put_away(10**9) == ROWS
    assert len(replay) == 0
    assert archive.delete() == ROWS
    assert memory.keys(f"replay-archive/{replay.name}/") == []


def test_what_was_interrupted_is_finished_by_the_next_call(replay: Replay, memory: MemoryManager) -> None:
    """Ended between storing and removing, and between inserting and deleting."""
    archive = replay.archive(memory)
    real = archive_module.ask_shard

    def die_before_removing(router: object, shard: int, method: str, *arguments: object) -> object:
        if method == "remove":
            raise InterruptedError
        return real(router, shard, method, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive_module, "ask_shard", die_before_removing)
        with pytest.raises(InterruptedError):
            archive.put_away(700)
    assert (len(replay), len(archive)) == (ROWS, 300)
    archive.put_away(501)
    assert len(replay) + len(archive) == ROWS

    class Dying:
        """The memory of a process that ends when it wants to delete."""

        def delete(self, *_: object, **__: object) -> None:
            raise InterruptedError

        def __getattr__(self, name: str) -> object:
            return getattr(memory, name)

    before = len(replay)
    with pytest.raises(InterruptedError):
        replay.archive(Dying()).bring_back()  # type: ignore[arg-type]
    assert len(replay) > before
    archive.bring_back()
    assert held(replay) == EVERYTHING


def test_what_cannot_be_put_away_is_said(cluster: Cluster, replay: Replay, memory: MemoryManager) -> None:
    queue = cluster.replay("archive-queue", schema=SCHEMA, kind="queue", capacity=10)
    with pytest.raises(InvalidValue, match="queue"):
        queue.archive(memory)
    queue.delete()
    deadline = Deadline.after(30, "a test")
    assert ask_shard(replay._router, 0, "remove", deadline, np.array([1, 2, 3])) == 0
