"""The DQN example on a cluster: it learns, shows how it goes, and draws it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "replay_dqn_cluster.py"


def run(seed: int, stop_at: float, minutes: float, plot: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLE, f"--seed={seed}", f"--stop-at={stop_at:g}"]
    command += [f"--max-minutes={minutes:g}", f"--plot={plot}"]
    env = os.environ | {"RAY_ADDRESS": "local", "COLUMNS": "120"}  # a Ray of its own, not that of other tests
    limit_s = 60 * minutes + 90  # and the start and end of Ray
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=limit_s, check=False)


def looks_right(done: subprocess.CompletedProcess[str], plot: Path) -> None:
    assert re.search(r"eval +\d+\.\d .*steps .*updates", done.stdout), "no progress was shown"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.stat().st_size > 5_000


def test_the_dqn_on_a_cluster_begins_to_balance_the_pole(tmp_path: Path) -> None:
    done = run(0, 195, 2, tmp_path / "plot.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reached 195" in done.stdout
    looks_right(done, tmp_path / "plot.png")


@pytest.mark.soak
@pytest.mark.timeout(2_000)
def test_the_dqn_on_a_cluster_solves_cartpole(tmp_path: Path) -> None:
    solved = []
    for seed in range(3):
        done = run(seed, 475, 8, tmp_path / f"{seed}.png")
        looks_right(done, tmp_path / f"{seed}.png")
        solved.append(done.returncode == 0)
    assert sum(solved) >= 2, solved
