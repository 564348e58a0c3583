"""Saving and restoring: equal batches afterwards, also when the buffer is in use, and damage is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import CorruptData, InvalidValue
from memories.replay import (
    CheckpointReader,
    EpisodeSampler,
    FifoSampler,
    MaxHeapSampler,
    MinSize,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SequenceSampler,
    UniformRemover,
)
from memories.replay.checkpoint import CheckpointWriter

MAKERS: dict[str, Callable[[], ReplayBuffer]] = {
    "uniform": lambda: ReplayBuffer(capacity=50, seed=1),
    "prioritized": lambda: PrioritizedReplayBuffer(capacity=50, alpha=0.7, seed=1),
    "uniform remover": lambda: PrioritizedReplayBuffer(capacity=50, remover=UniformRemover(), seed=1),
    "limited": lambda: ReplayBuffer(capacity=50, max_times_sampled=40, seed=1),
    "fifo": lambda: ReplayBuffer(capacity=50, sampler=FifoSampler(), rate_limiter=MinSize(2), seed=1),
    "heap": lambda: ReplayBuffer(capacity=50, sampler=MaxHeapSampler(), seed=1),
    "sequences": lambda: ReplayBuffer(capacity=50, sampler=SequenceSampler(3), seed=1),
    "episodes": lambda: ReplayBuffer(capacity=50, sampler=EpisodeSampler(), seed=1),
    "shard": lambda: PrioritizedReplayBuffer(capacity=50, shard=77, seed=1),
}


def block(start: int, count: int) -> dict[str, np.ndarray]:
    n = np.arange(start, start + count)
    image = np.repeat(n[:, None], 1500, axis=1).astype(np.uint8)
    return {"n": n, "done": n % 7 == 6, "image": image, "obs": np.outer(n, [0.5, 1.0]).astype(np.float32)}


def work(buffer: ReplayBuffer, seed: int) -> list[Any]:
    """The same inserts, removals, updates and draws for any buffer; returns what it answered."""
    rng = np.random.default_rng(seed)
    answers: list[Any] = []
    for step in range(12):
        handles = buffer.add_batch(block(100 * seed + 9 * step, 9))
        buffer.add(**{name: column[0] for name, column in block(1000 * seed + step, 1).items()})
        answers.append(handles.tolist())
        if step % 4 == 3:
            answers.append(buffer.remove(rng.choice(buffer.handles(), 3, replace=False)))
        if buffer._priorities is not None:
            chosen = rng.choice(buffer.handles(), 5, replace=False)
            answers.append(buffer.update_priorities(chosen, rng.random(5)))
        batch = buffer.sample(8)
        answers += [batch["n"].tolist(), batch.handles.tolist(), batch.weights.tolist()]
        assert (batch["image"][..., 0] == batch["n"] % 256).all()
    return answers


@pytest.mark.parametrize("kind", MAKERS)
def test_a_restored_buffer_goes_on_as_the_saved_one(kind: str, tmp_path: Path) -> None:
    saved = MAKERS[kind]()
    work(saved, 1)
    saved.checkpoint(tmp_path / "replay.ckpt")
    state = saved.export_state()
    restored, imported, replaced = MAKERS[kind](), MAKERS[kind](), MAKERS[kind]()
    work(replaced, 3)  # what it held before must not shine through
    restored.restore(tmp_path / "replay.ckpt")
    imported.import_state(state)
    replaced.restore(tmp_path / "replay.ckpt")
    expected = work(saved, 2)
    for other in (restored, imported, replaced):
        assert work(other, 2) == expected
        assert (other.inserted, other.sampled) == (saved.inserted, saved.sampled)
    assert list(tmp_path.iterdir()) == [tmp_path / "replay.ckpt"]


def test_load_makes_the_buffer(tmp_path: Path) -> None:
    saved = PrioritizedReplayBuffer(capacity=20, alpha=0.9, seed=5)
    handles = saved.add_batch(block(0, 20), np.arange(1.0, 21.0))
    saved.checkpoint(tmp_path / "file")
    loaded = PrioritizedReplayBuffer.load(tmp_path / "file")
    assert loaded.priorities_of(handles).tolist() == list(range(1, 21))
    assert loaded.priority_stats() == saved.priority_stats()
    assert loaded.sample(30)["n"].tolist() == saved.sample(30)["n"].tolist()


def test_a_buffer_that_does_not_fit_is_refused_and_unchanged(tmp_path: Path) -> None:
    saved = ReplayBuffer(capacity=20, seed=0)
    saved.add_batch(block(0, 5))
    saved.checkpoint(tmp_path / "file")
    for other, why in (
        (ReplayBuffer(capacity=21), "capacity"),
        (PrioritizedReplayBuffer(capacity=20), "sampler"),
        (ReplayBuffer(capacity=20, remover=UniformRemover()), "remover"),
        (ReplayBuffer(capacity=20, shard=3), "shard"),
    ):
        other.add_batch(block(7, 2))
        with pytest.raises(InvalidValue, match=why):
            other.restore(tmp_path / "file")
        assert set(other.sample(50)["n"].tolist()) == {7, 8}


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    buffer = PrioritizedReplayBuffer(capacity=6, seed=0)
    buffer.add_batch({"n": np.arange(6)})
    buffer.checkpoint(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    padding = _padding(tmp_path / "whole", whole)
    damaged = tmp_path / "damaged"
    for at in range(0, len(whole), 5):
        if at in padding:
            continue
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        with pytest.raises(CorruptData):
            buffer.restore(damaged)
    for length in (0, 4, 8, 20, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:length])
        with pytest.raises(CorruptData):
            buffer.restore(damaged)


def _padding(path: Path, whole: bytes) -> set[int]:
    """Bytes between arrays: nothing is stored there."""
    used = set(range(8))
    reader = CheckpointReader(path)
    for entry in reader._entries.values():
        nbytes = int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize
        used |= set(range(entry["offset"], entry["offset"] + nbytes))
    end = max(used) + 1
    return set(range(end)) - used


def test_a_checkpoint_taken_in_use_is_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows carry their number: whatever is written meanwhile, the file holds 4,000 numbers in a row."""
    monkeypatch.setattr("memories.replay.persistence._CHUNK_BYTES", 16 << 10)
    buffer = ReplayBuffer(capacity=4000, seed=0)
    buffer.add_batch(block(0, 5000))
    stop = threading.Event()
    failures: list[BaseException] = []

    def insert() -> None:
        try:
            at = 5000
            while not stop.is_set():
                buffer.add_batch(block(at, 100))
                buffer.add(**{name: column[0] for name, column in block(at + 100, 1).items()})
                at += 101
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    writer = threading.Thread(target=insert)
    writer.start()
    try:
        before = buffer.inserted
        for i in range(3):
            buffer.checkpoint(tmp_path / f"{i}")
    finally:
        stop.set()
        writer.join(timeout=30)
    assert not failures
    assert buffer.inserted > before + 200
    for i in range(3):
        restored = ReplayBuffer.load(tmp_path / f"{i}")
        batch, found = restored.read(restored.handles())
        assert found.all()
        assert (np.diff(batch["n"]) == 1).all()
        assert batch["n"][-1] == restored.inserted - 1
        assert (batch["image"] == (batch["n"] % 256)[:, None]).all()


def test_columns_in_mapped_files(tmp_path: Path) -> None:
    buffer = PrioritizedReplayBuffer(capacity=50, folder=tmp_path / "columns", alpha=0.7, seed=1)
    plain = PrioritizedReplayBuffer(capacity=50, alpha=0.7, seed=1)
    assert work(buffer, 1) == work(plain, 1)
    assert sum(path.stat().st_size for path in (tmp_path / "columns").iterdir()) >= 50 * 1500


def test_a_restore_during_a_checkpoint_does_not_get_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memories.replay.persistence._CHUNK_BYTES", 8 << 10)
    buffer, other = (ReplayBuffer(capacity=40, seed=0) for _ in range(2))
    buffer.add_batch(block(0, 40))
    other.add_batch(block(100, 40))
    state = other.export_state()
    append = CheckpointWriter.append

    def append_and_replace(writer: CheckpointWriter, name: str, part: np.ndarray) -> None:
        append(writer, name, part)
        if name == "rows/n" and buffer.handles().size and buffer.sample(1)["n"][0] < 100:
            buffer.import_state(state)

    monkeypatch.setattr(CheckpointWriter, "append", append_and_replace)
    buffer.checkpoint(tmp_path / "file")
    assert buffer.sample(1)["n"][0] >= 100
    loaded = ReplayBuffer.load(tmp_path / "file")
    batch, _ = loaded.read(loaded.handles())
    assert batch["n"].tolist() == list(range(40))
    assert (batch["image"] == batch["n"][:, None]).all()
