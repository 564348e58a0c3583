"""Analytics over real tiers: what happened when, and the seed's figure."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import InvalidType, InvalidValue, KeyNotFound, MissingDependency
from memories.tiers.analytics import Analytics, AnalyticsReport
from memories.tiers.hot_memory import HotMemory
from memories.tiers.warm_memory import WarmMemory
from tests.support.clock import ManualClock

KB = 2**10
MB = 2**20
GB = 10**9


def test_series_follow_the_tiers() -> None:
    clock = ManualClock()
    analytics = Analytics(clock=clock)
    with HotMemory(4 * MB / GB, device="cpu") as hot, WarmMemory(8 * MB / GB) as warm:

        def observe() -> None:
            analytics.observe({"hot": hot.get_metrics(), "warm": warm.get_metrics(), "total": {"hits": 99}})
            clock.advance(2)

        observe()
        hot.store("a", np.zeros(MB, np.uint8))
        observe()
        hot.retrieve("a")
        hot.retrieve("a")
        with pytest.raises(KeyNotFound):
            hot.retrieve("b")
        warm.put_blob(hot.get_blob("a"))
        hot.delete("a")
        analytics.moved("hot", "warm", MB)
        observe()
        observe()
        warm.retrieve("a")
        analytics.moved("hot", "warm", 10)
        observe()
    report = analytics.report()
    assert report["timestamps"].tolist() == [0, 2, 4, 6, 8]
    assert report["hot_usage"].tolist() == [0, 25, 0, 0, 0]
    # A megabyte of eight, and the kilobyte that an entry costs besides.
    assert report["warm_usage"] == pytest.approx([0, 0, *[100 * (MB + KB) / (8 * MB)] * 3], abs=0.005)
    assert report["cold_usage"].tolist() == report["glacier_usage"].tolist() == [0] * 5
    assert report["hit_rate"] == pytest.approx([0, 0, 200 / 3, 200 / 3, 100])
    assert report["stores"].tolist() == [0, 1, 1, 0, 0]
    assert report["operations"].tolist() == [0, 1, 5, 0, 1]
    assert report["bytes_moved"].tolist() == [0, 0, MB, 0, 10]
    assert report["flows"] == {"hot -> warm": {"moves": 2, "bytes": MB + 10}}
    lengths = {len(column) for name, column in report.items() if name != "flows"}
    assert lengths == {5}


def test_a_tier_that_was_opened_anew_counts_from_zero() -> None:
    analytics = Analytics(clock=ManualClock())
    for hits in (10, 15, 3, 4):
        analytics.observe({"warm": {"hits": hits, "usage_percent": 1.0}})
    assert analytics.report()["hits"].tolist() == [10, 5, 3, 1]


def test_memory_is_bounded_and_totals_are_exact() -> None:
    clock = ManualClock()
    analytics = Analytics(max_points=64, clock=clock)
    for number in range(5_000):
        analytics.observe({"hot": {"usage_percent": number % 100, "stores": 3 * number}})
        clock.advance(1)
    report = analytics.report()
    assert 32 <= len(report["timestamps"]) <= 64
    assert report["stores"].sum() == 3 * 4_999
    assert report["timestamps"][-1] == 4_999
    assert report["hot_usage_peak"].max() == 99
    assert 45 < report["hot_usage"].mean() < 55


def test_an_empty_report() -> None:
    report = Analytics().report()
    assert len(report["timestamps"]) == len(report["hit_rate"]) == 0
    report.plot()


@pytest.mark.parametrize(
    "arguments", [{"max_points": 1}, {"max_points": "many"}, {"tiers": "hot"}, {"tiers": [1]}]
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidType, InvalidValue)):
        Analytics(**arguments)


def _sample_report() -> AnalyticsReport:
    clock = ManualClock()
    analytics = Analytics(clock=clock)
    for number in range(30):
        usage = {"hot": 3.0 * number, "warm": 40 + 10 * np.sin(number / 4), "cold": 10.0}
        metrics = {
            tier: {"usage_percent": value, "hits": 3 * number, "misses": number}
            for tier, value in usage.items()
        }
        analytics.observe(metrics)
        clock.advance(0.5)
    return analytics.report()


def test_the_figure_is_that_of_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "memory_analytics.png"
    figure = _sample_report().plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    usage, rate = figure.axes
    assert [line.get_label() for line in usage.lines] == ["Hot", "Warm", "Cold"]
    assert [line.get_color() for line in usage.lines] == ["r", "g", "b"]
    assert (usage.get_title(), rate.get_title()) == ("Memory Usage Over Time", "Cache Hit Rate")
    assert (usage.get_ylabel(), rate.get_ylabel()) == ("Usage (%)", "Hit Rate (%)")
    assert rate.lines[0].get_ydata()[-1] == 75


def test_the_seed_draws_from_the_report(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    analytics = _sample_report()
    plt.figure(figsize=(12, 6))
    plt.subplot(1, 2, 1)
    plt.plot(analytics["timestamps"], analytics["hot_usage"], "r-", label="Hot")
    plt.plot(analytics["timestamps"], analytics["warm_usage"], "g-", label="Warm")
    plt.plot(analytics["timestamps"], analytics["cold_usage"], "b-", label="Cold")
    plt.legend()
    plt.subplot(1, 2, 2)
    plt.plot(analytics["timestamps"], analytics["hit_rate"], "k-")
    plt.tight_layout()
    plt.savefig(tmp_path / "memory_analytics.png")
    plt.close("all")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    with pytest.raises(MissingDependency, match=r"memories\[plot\]"):
        AnalyticsReport().plot()
