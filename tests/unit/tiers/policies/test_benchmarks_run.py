"""The benchmarks of queries and policies run as their first lines say, and their bars on answers hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "figure"),
    [
        ("metadata_query", "two_fields_indexed_ms"),
        ("policies", "mean margin of the default over lru"),
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
    assert json.loads(target.read_text())[figure] > 0
