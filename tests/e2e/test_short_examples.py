"""Examples that no other test runs, in their quick sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTED_ELSEWHERE = {
    "memoize_pipeline.py": "test_tier_examples",
    "memoria_engrams.py": "unit/memoria/test_examples",
    "memoria_sorting.py": "unit/memoria/test_examples",
    "monitoring.py": "test_tier_examples",
    "replay_dqn_cluster.py": "test_replay_examples",
    "snapshots_s3.py": "test_example_snapshots_s3",
    "tiers_local.py": "test_tier_examples",
}
SAYS = {
    "plugins.py": "plugins",
    "replay_dqn_local.py": "mean return of the last 20 episodes",
    "replay_rllib.py": "transitions in 2 shards",
    "replay_sb3.py": "transitions stored",
    "tiers_cluster.py": "the last parts: ['features/02', 'features/03']",
}


def test_every_example_has_a_test() -> None:
    there = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert there == TESTED_ELSEWHERE.keys() | SAYS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAYS))
def test_it_runs_and_says_what_it_should(name: str, tmp_path: Path) -> None:
    env = os.environ | {"MEMORIES_HOME": str(tmp_path / "data"), "RAY_ADDRESS": "local", "MPLBACKEND": "Agg"}
    command = [sys.executable, str(ROOT / "examples" / name), "--quick"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAYS[name] in done.stdout + done.stderr
