"""Checkpoints while other threads write one as well, and while the buffer changes its columns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memories.replay import ImageStorage, ReplayBuffer, Schema
from memories.replay.checkpoint import CheckpointReader, CheckpointWriter


def test_two_writers_of_one_path_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "replay.ckpt"
    with CheckpointWriter(path) as first:
        first.add("x", np.arange(3))
        with CheckpointWriter(path) as second:
            second.add("x", np.arange(5))
        assert CheckpointReader(path).array("x").tolist() == [0, 1, 2, 3, 4]
    reader = CheckpointReader(path)
    reader.verify()
    assert reader.array("x").tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_threads_may_checkpoint_to_one_path(tmp_path: Path) -> None:
    path = tmp_path / "replay.ckpt"
    buffer = ReplayBuffer(capacity=20_000, seed=0)
    buffer.add_batch({"x": np.random.default_rng(0).random((20_000, 8))})

    def write() -> int:
        for _ in range(5):
            buffer.checkpoint(path)
            assert len(ReplayBuffer.load(path)) == 20_000
        return 5

    with ThreadPoolExecutor(3) as threads:
        writing = [threads.submit(write) for _ in range(3)]
    assert sum(each.result() for each in writing) == 15
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "images", [None, ImageStorage("x"), ImageStorage("x", compression="lz4")], ids=["plain", "once", "lz4"]
)
@pytest.mark.parametrize("kept", [0, 50])
def test_removed_rows_are_still_in_a_checkpoint_when_columns_widen(
    images: ImageStorage | None, kept: int, tmp_path: Path
) -> None:
    buffer = ReplayBuffer(capacity=100, images=images, seed=0)
    x = np.arange(1, 201, dtype=np.uint8).reshape(100, 2)
    handles = buffer.add_batch({"x": x, "n": np.arange(100, dtype=np.int32)})
    pending = buffer.begin_checkpoint()
    pending.next_rows(10)
    buffer.remove(handles[: 100 - kept])
    buffer.widen(Schema({"x": ((2,), "uint8"), "n": "int64"}))
    _, rows = pending.next_rows(90)
    pending.forget()
    assert rows["n"].tolist() == list(range(10, 100))
    assert rows["n"].dtype == np.int32
    assert (rows["x"] == x[10:]).all()
