"""The one shape in which benchmarks report."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bars import Curve, Report, options_of, read_report
from benchmarks.pairs import Pairs, in_words, take_turns


def test_a_report_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    report = Report("tiers")
    report.at_least("reads", 2, 2.5, "x", (2.4, 2.6), "1 ms beside 2.5 ms", goal=3)
    report.at_most("memory", 100, 80, "MB")
    report.figure("one ping", 0.5, "ms")
    report.draw(Curve("Memory", "keys", "GB", {"ours": [(1.0, 2.0), (10.0, 20.0)]}, log_x=True))
    assert report.finish(tmp_path / "report.json") == 0
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    ("measured", "least_holds", "most_holds"), [(1.99, False, True), (2.0, True, True), (2.01, True, False)]
)
def test_a_bar_is_met_up_to_its_limit(measured: float, least_holds: bool, most_holds: bool) -> None:
    report = Report("any")
    assert report.at_least("a", 2, measured).met is least_holds
    assert report.at_most("b", 2, measured).met is most_holds
    assert report.finish(None) == (0 if least_holds and most_holds else 1)


def test_what_is_not_a_number_meets_no_bar() -> None:
    report = Report("any")
    assert report.at_least("a", 2, float("nan")).met is False
    assert report.at_most("b", 2, float("nan")).met is False


def test_small_sizes_judge_nothing_but_answers() -> None:
    report = Report("any", judged=False)
    assert report.at_least("a", 2, 1).verdict == "not judged"
    assert report.finish(None) == 0
    report.fail("7 where 8 was stored")
    assert report.finish(None) == 1


def test_a_row_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    Report("any").at_least("reads", 2, 1.5, "x", (1.4, 1.6), "1 ms beside 1.5 ms", goal=3)
    printed = capsys.readouterr().out
    for part in ("reads", "1.5 x", ">= 2 (goal 3)", "NOT MET", "1.4 to 1.6", "1 ms beside 1.5 ms"):
        assert part in printed


def test_pairs_are_compared_pair_by_pair() -> None:
    pairs = Pairs((1.0, 2.0, 4.0), (2.0, 6.0, 4.0))
    assert pairs.times_faster == 2
    assert pairs.spread == (1, 3)
    assert pairs.share_of_time == 0.5
    assert pairs.spread_of_share == (pytest.approx(1 / 3), 1)
    assert pairs.both == "2 s beside 4 s"


def test_the_first_round_warms_up_and_the_order_alternates() -> None:
    calls: list[str] = []

    def ours() -> float:
        calls.append("ours")
        return float(len(calls))

    def theirs() -> float:
        calls.append("theirs")
        return float(len(calls))

    pairs = take_turns(2, ours, theirs)
    assert calls == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert pairs == Pairs((3.0, 6.0), (4.0, 5.0))


def test_durations_in_words() -> None:
    assert [in_words(value) for value in (2.5, 0.0125, 3e-6, 4e-9)] == ["2.5 s", "12.5 ms", "3 us", "4 ns"]


def test_every_benchmark_takes_quick_and_json(tmp_path: Path) -> None:
    options = options_of("What it is.").parse_args(["--quick", "--json", str(tmp_path / "x.json")])
    assert options.quick
    assert options.json == tmp_path / "x.json"
