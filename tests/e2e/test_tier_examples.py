"""The examples of the tiers run as a user runs them, and say what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), "--quick"]
    env = os.environ | {"MEMORIES_HOME": str(folder / "data"), "TMPDIR": str(folder), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_pipeline_computes_its_features_once_for_two_processes(tmp_path: Path) -> None:
    first = run("memoize_pipeline.py", tmp_path)
    assert "features    CacheInfo(hits=8, misses=2, maxsize=None, currsize=2)" in first
    assert "load        CacheInfo(hits=1, misses=1, maxsize=8, currsize=1)" in first
    second = run("memoize_pipeline.py", tmp_path)
    assert "features    CacheInfo(hits=10, misses=0, maxsize=None, currsize=2)" in second


@pytest.mark.slow
def test_the_tiers(tmp_path: Path) -> None:
    shown = run("tiers_local.py", tmp_path)
    assert "since 2025: ['embeddings/2025']" in shown
    assert "the same bytes: True" in shown
    (figure,) = tmp_path.glob("tiers-local-*/memory_analytics.png")
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_monitoring(tmp_path: Path) -> None:
    shown = run("monitoring.py", tmp_path)
    assert "10 samples; this process grew by" in shown
    assert "Memory:" in shown
