"""The first use of the compiled kernels: late, said aloud, and never a reason to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_USE = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
import memories.replay as replay
buffer = replay.PrioritizedReplayBuffer(capacity=10, alpha=1.0, seed=0)
uniform = replay.ReplayBuffer(capacity=10, seed=0)
uniform.add_batch({"n": list(range(10))})
uniform.sample(4)
assert "numba" not in sys.modules, "only priorities need numba"
buffer.add_batch({"n": list(range(10))}, list(range(10)))
print("DREW", buffer.sample(4)["n"].tolist())
"""


def use(**environment: str) -> str:
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", _USE], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_compiling_is_announced_once_and_then_remembered(tmp_path: Path) -> None:
    first = use(NUMBA_CACHE_DIR=str(tmp_path))
    second = use(NUMBA_CACHE_DIR=str(tmp_path))
    assert "WARNING Compiling the replay kernels" in first
    assert "Compiling" not in second
    assert "INFO The replay kernels were loaded" in second
    assert first.splitlines()[-1] == second.splitlines()[-1]


def test_numpy_does_the_work_where_compiling_is_switched_off() -> None:
    assert "INFO MEMORIES_COMPILED=0: replay buffers use NumPy alone." in use(MEMORIES_COMPILED="0")


@pytest.mark.slow
def test_a_broken_numba_does_not_break_replay(tmp_path: Path) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('made for the test')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    said = use(PYTHONPATH=path)
    assert "INFO numba cannot be imported (made for the test)" in said
    assert said.splitlines()[-1] == use(MEMORIES_COMPILED="0").splitlines()[-1]
    assert said.splitlines()[-1] == use().splitlines()[-1]  # the same draws, compiled or not
