"""The page over all benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.bars import Bar, Curve, Report
from benchmarks.page import Run, distance, write_page

ROOT = Path(__file__).parents[3]


@pytest.fixture
def runs() -> list[Run]:
    good = Report("replay_local")
    good.at_least("sample", 3, 4.5, "x", (4.2, 4.9), "1 us beside 4 us", goal=4)
    good.figure("floor | of it", 12_345, "us")
    good.draw(Curve("Memory", "keys", "GB", {"ours": [(1, 2), (10, 20)], "limit": [(1, 3)]}, log_x=True))
    bad = Report("tiers_local")
    bad.at_most("store", 1.15, 1.3)
    bad.fail("7 where 8 was stored")
    return [
        Run("replay_local", "Part 4", good, 61.0),
        Run("tiers_local", "Part 2", bad, 30.0),
        Run("policies", "Part 2", None, 3.0, "Traceback\nValueError: no"),
    ]


def test_every_bar_is_a_row_and_nothing_is_hidden(runs: list[Run], tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_page(page, runs, quick=False)
    text = page.read_text()
    assert (
        "| [replay_local](#replay_local) | sample | at least 3 x (goal 4) | 4.5 x | 4.2 to 4.9 | met |"
        in text
    )
    assert "| [tiers_local](#tiers_local) | store | at most 1.15 x | 1.3 x |  | **not met** |" in text
    assert "| [policies](#policies) | no result | | | | **not run** |" in text
    assert "floor \\| of it" in text
    assert "**Wrong answer**: 7 where 8 was stored" in text
    assert "ValueError: no" in text
    assert "took 2 minutes" in text
    for picture in ("overview.svg", "replay_local-0.svg"):
        assert f"(benchmarks/{picture})" in text
        assert ElementTree.parse(tmp_path / "benchmarks" / picture).getroot().tag.endswith("svg")


def test_equal_results_make_equal_pictures(runs: list[Run], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_page(tmp_path / name / "benchmarks.md", runs, quick=False)
    for picture in ("overview.svg", "replay_local-0.svg"):
        first, second = (tmp_path / name / "benchmarks" / picture for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_a_run_passes_only_with_results_right_answers_and_met_bars(runs: list[Run]) -> None:
    assert [run.passed for run in runs] == [True, False, False]
    assert runs[1].summary == "0 of 1 bars met, 1 WRONG ANSWERS"
    assert runs[2].summary == "NO RESULT: ValueError: no"


def test_distance_is_how_many_times_better_than_asked() -> None:
    def bar(asked: str, measured: float) -> Bar:
        return Bar("a", asked, measured, "x", True)

    assert distance(bar(">= 2", 6)) == 3
    assert distance(bar("<= 2 (goal 1)", 1)) == 2
    assert distance(bar("<= 0", 0)) is None
    assert distance(bar("", 1)) is None


@pytest.mark.slow
def test_benchmarks_run_one_by_one_and_make_the_page(tmp_path: Path) -> None:
    page, keep = tmp_path / "page.md", tmp_path / "kept"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--keep", str(keep), "--page", str(page)]
    done = subprocess.run(
        [*command, "imports"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import memories: more than NumPy alone" in page.read_text()
    again = subprocess.run(
        [*command, "--page-only", "imports"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    unknown = subprocess.run(
        [*command, "no_such"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert unknown.returncode == 2
    assert "there is no benchmark no_such" in unknown.stderr
