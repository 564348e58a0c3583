"""The examples and the benchmark at their smallest, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bars import read_report

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str, timeout_s: float) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def assert_is_a_picture(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5_000


@pytest.mark.slow
def test_the_sorting_example_trains_compares_and_draws(tmp_path: Path) -> None:
    output = run("examples/memoria_sorting.py", "--quick", "--output", str(tmp_path), timeout_s=200)
    assert "Ranks named right" in output
    assert "At the longest length the model with Memoria is" in output
    assert_is_a_picture(tmp_path / "memoria_sorting.png")


@pytest.mark.slow
def test_the_engram_example_shows_its_curves_and_its_graph(tmp_path: Path) -> None:
    output = run("examples/memoria_engrams.py", "--quick", "--output", str(tmp_path), timeout_s=200)
    assert "Serial position" in output
    assert "relative to chance" in output
    assert_is_a_picture(tmp_path / "memoria_curves.png")
    assert_is_a_picture(tmp_path / "memoria_graph.png")


@pytest.mark.slow
def test_the_benchmark_names_every_bar(tmp_path: Path) -> None:
    output = run("-m", "benchmarks.memoria", "--quick", "--json", str(tmp_path / "bars.json"), timeout_s=280)
    bars = read_report(tmp_path / "bars.json").bars
    assert len(bars) == 7
    for bar in bars:
        assert bar.bar
        assert str(bar) in output
        assert bar.met is None, "small sizes meet no bar"
        assert bar.measured > 0
