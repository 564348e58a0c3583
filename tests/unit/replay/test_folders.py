"""A folder of columns belongs to one buffer at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memories.errors import InvalidValue, LockHeld
from memories.replay import ReplayBuffer, Schema, SequenceSampler

PROGRAM = """
import sys
from memories.replay import ReplayBuffer
buffer = ReplayBuffer(capacity=10, folder=sys.argv[1])
buffer.add(x=1.0)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("schema", [None, Schema({"x": "float64"})])
def test_a_second_buffer_in_a_folder_is_refused(schema: Schema | None, tmp_path: Path) -> None:
    train = ReplayBuffer(schema, capacity=100, folder=tmp_path / "rows", seed=0)
    train.add_batch({"x": np.full(10, 1.0)})
    with pytest.raises(LockHeld, match=f"process {os.getpid()}"):
        ReplayBuffer(schema, capacity=100, folder=tmp_path / "rows")
    assert set(train.sample(100)["x"].tolist()) == {1.0}
    ReplayBuffer(schema, capacity=100, folder=tmp_path / "other").add(x=7.0)


def test_a_folder_is_free_once_its_buffer_is_dropped(tmp_path: Path) -> None:
    buffer = ReplayBuffer(capacity=10, folder=tmp_path, seed=0)
    buffer.add(x=1.0)
    batch = buffer.sample(1)
    del buffer
    again = ReplayBuffer(capacity=10, folder=tmp_path)
    again.add(x=2.0)
    assert (batch["x"].tolist(), again.sample(1)["x"].tolist()) == ([1.0], [2.0])


def test_a_folder_is_free_after_its_process_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        with pytest.raises(LockHeld, match=f"process {other.pid}"):
            ReplayBuffer(capacity=10, folder=tmp_path)
        other.kill()
        other.wait()
    ReplayBuffer(capacity=10, folder=tmp_path).add(x=1.0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_neither_frees_nor_keeps_a_folder(tmp_path: Path) -> None:
    buffer = ReplayBuffer(capacity=10, folder=tmp_path)
    go_on, hold = os.pipe()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        del buffer
        os.write(say, b"x")
        os.close(hold)
        os.read(go_on, 1)
        os._exit(0)
    os.read(said, 1)
    with pytest.raises(LockHeld):
        ReplayBuffer(capacity=10, folder=tmp_path)
    del buffer
    ReplayBuffer(capacity=10, folder=tmp_path)
    os.close(hold)
    os.waitpid(child, 0)
    for descriptor in (go_on, said, say):
        os.close(descriptor)


def test_a_buffer_that_could_not_be_built_may_try_again(tmp_path: Path) -> None:
    buffer = ReplayBuffer(capacity=10, folder=tmp_path, sampler=SequenceSampler(2), seed=0)
    with pytest.raises(InvalidValue, match="episode ends"):
        buffer.add(x=1.0)
    buffer.add_batch({"x": np.arange(3.0), "done": np.zeros(3, np.bool_)})
    assert buffer.sample(4)["x"].shape == (4, 2)
