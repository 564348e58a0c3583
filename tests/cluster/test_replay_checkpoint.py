"""Checkpoints of a buffer on the cluster: online, and restored to other numbers of shards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from memories.actors.cluster import Cluster
from memories.actors.replay import Replay
from memories.actors.replay.checkpoint import _state_of, read_manifest
from memories.actors.replay.core.replicated import RowsState
from memories.errors import CorruptData, InvalidValue
from memories.replay import Schema
from tests.cluster.conftest import wait_until

SCHEMA = Schema({"obs": ((4,), "float32"), "row": "int64"})
ROWS = 20_000


def rows_from(start: int, count: int) -> dict[str, np.ndarray]:
    row = np.arange(start, start + count)
    return {"obs": np.repeat(row[:, None], 4, 1).astype("f4"), "row": row}


def opened(cluster: Cluster, name: str, shards: int, capacity: int = ROWS) -> Replay:
    return cluster.replay(
        name, schema=SCHEMA, kind="prioritized", capacity=capacity, shards=shards, alpha=0.7, seed=3
    )


def content(replay: Replay) -> list[tuple[int, float, float]]:
    """Row by row: its number, what its observation says, and its priority; from the shards themselves."""
    found = []
    for state in states(replay):
        buffer = replay.spec.make_buffer(state.buffer.values["slots"]["shard"])
        buffer.import_state(state.buffer)
        handles = buffer.handles()
        batch, _ = buffer.read(handles)
        priorities = buffer.priorities_of(handles)
        found += zip(batch["row"].tolist(), batch["obs"][:, 0].tolist(), priorities.tolist(), strict=True)
    return sorted(found)


def states(replay: Replay) -> list[RowsState]:
    """What each primary holds, read from a checkpoint of its own."""
    with tempfile.TemporaryDirectory() as folder:
        replay.checkpoint(folder)
        _, files = read_manifest(folder)
        return [_state_of(Path(folder) / saved.file) for saved in files]  # maps outlive their files' names


@pytest.fixture(scope="module")
def saved(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replay, Path]]:
    """A full buffer of four shards, its priorities all different, and its checkpoint."""
    replay = opened(cluster, "saved", 4)
    rng = np.random.default_rng(0)
    with replay.writer() as writer:
        for start in range(0, ROWS, 1_000):
            writer.add_batch(rows_from(start, 1_000), priorities=10.0 ** rng.uniform(-3, 2, 1_000))
    folder = tmp_path_factory.mktemp("checkpoint") / "first"
    assert replay.checkpoint(folder) == len(replay)
    yield replay, folder
    replay.delete()


@pytest.mark.parametrize("shards", [2, 8, 3])
def test_another_number_of_shards_gets_the_same_rows_and_priorities(
    cluster: Cluster, saved: tuple[Replay, Path], shards: int
) -> None:
    replay, folder = saved
    capacity = -(-len(replay) // shards) * shards  # not one row more than there must be room for
    other = opened(cluster, f"into-{shards}", shards, capacity)
    with other.writer() as writer:
        writer.add_batch(rows_from(0, 100))  # is replaced
    assert other.restore(folder) == len(replay)
    assert content(other) == content(replay)
    wait_until(lambda: len(other.stats().shards) == shards, 60)  # one that is busy is left out of the stats
    sizes = [shard.rows for shard in other.stats().shards]
    assert max(sizes) - min(sizes) <= 1
    batch = other.sample(256)
    assert (batch["obs"] == batch["row"][:, None]).all()
    assert other.update_priorities(batch.handles, 1.0).stale == 0
    other.delete()


def test_the_same_number_of_shards_goes_on_as_it_was(cluster: Cluster, saved: tuple[Replay, Path]) -> None:
    replay, folder = saved
    twin = opened(cluster, "twin", 4)
    twin.restore(folder)
    assert content(twin) == content(replay)
    for view in replay.stats().layout.shards:
        ours, theirs = (
            ray.get(r._router.primary(view.shard).sample.remote(64), timeout=30) for r in (twin, replay)
        )
        assert (ours.handles == theirs.handles).all(), "handles and random generators are as they were"
    assert twin.stats().inserted == replay.stats().inserted
    twin.delete()


def test_a_checkpoint_while_rows_come_and_go_is_whole(cluster: Cluster, tmp_path: Path) -> None:
    replay = opened(cluster, "busy", 2)
    acknowledged = [0]
    stop = threading.Event()

    def insert() -> None:
        with replay.writer() as writer:
            while not stop.is_set():
                writer.add_batch(rows_from(acknowledged[0], 64))
                writer.flush()
                acknowledged[0] += 64

    def sample() -> None:
        with replay.sampler(batch_size=64) as sampler:
            while not stop.is_set():
                batch = next(sampler)
                replay.update_priorities(batch.handles, np.abs(batch["row"]) + 1.0)

    with replay.writer() as writer:
        writer.add_batch(rows_from(-10_000, 10_000))
    threads = [threading.Thread(target=work) for work in (insert, sample)]
    for thread in threads:
        thread.start()
    try:
        before = [0, 0, 0]
        for i in range(3):
            before[i] = acknowledged[0]
            replay.checkpoint(tmp_path / str(i))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    whole = 0
    for i in range(3):
        other = opened(cluster, f"busy-{i}", 4)
        other.restore(tmp_path / str(i))
        found = content(other)
        numbers = [row for row, _, _ in found]
        assert len(set(numbers)) == len(numbers), "a row is there twice"
        assert all(row == obs for row, obs, _ in found)
        if len(found) < ROWS:  # nothing was overwritten so far
            whole += 1
            assert set(range(-10_000, before[i])) <= set(numbers)
        other.delete()
    assert whole, "the buffer was full at once: nothing was looked at"
    replay.delete()


def test_a_damaged_or_foreign_checkpoint_changes_nothing(
    cluster: Cluster, saved: tuple[Replay, Path], tmp_path: Path
) -> None:
    _, folder = saved
    target = opened(cluster, "target", 4)
    with target.writer() as writer:
        writer.add_batch(rows_from(0, 50))
    with pytest.raises(FileNotFoundError):
        target.restore(tmp_path / "nothing")
    small = opened(cluster, "small", 2, capacity=1_000)
    with pytest.raises(InvalidValue, match="room for"):
        small.restore(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        content_of = bytearray(file.read_bytes())
        if file.suffix == ".replay":
            content_of[len(content_of) // 2] ^= 1
        (copy / file.name).write_bytes(content_of)
    with pytest.raises(CorruptData, match="checksum"):
        target.restore(copy)
    next(copy.glob("*.replay")).unlink()
    with pytest.raises(CorruptData, match="missing"):
        target.restore(copy)
    assert len(target) == 50
    small.delete()
    target.delete()


def test_a_folder_holds_one_checkpoint(cluster: Cluster, tmp_path: Path) -> None:
    replay = opened(cluster, "again", 2)
    for start in (0, 100):
        with replay.writer() as writer:
            writer.add_batch(rows_from(start, 100))
        assert replay.checkpoint(tmp_path) == start + 100
    assert len(list(tmp_path.glob("*.replay"))) == 2
    assert replay.restore(tmp_path) == 200
    replay.delete()


@pytest.mark.soak
def test_a_checkpoint_of_a_million_rows_does_not_hold_up_a_sampler() -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.replay_checkpoint"], check=True, timeout=600)
