"""The benchmarks of queries and policies run as their first lines say, and their bars on answers hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bars import read_report

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "figure"),
    [
        ("metadata_query", "two fields indexed"),
        ("policies", "predictor, sequential: points of hit rate gained"),
    ],
)
def test_quick_run_writes_its_figures(module: str, figure: str, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--quick", "--json", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = read_report(target)
    assert not report.failures
    assert next(bar for bar in report.bars if bar.name == figure).measured > 0
