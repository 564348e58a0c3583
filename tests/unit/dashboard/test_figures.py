"""Figures and charts say what is, in few digits."""

from __future__ import annotations

import re

import pytest

from memories.actors.reports import LIFESPAN_EDGES, PRIORITY_EDGES, Histogram
from memories.actors.status import FlowStatus
from memories.dashboard import charts, figures


@pytest.mark.parametrize(
    ("nbytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (340_000, "340 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (999_999, "1 MB"),
        (1_500_000_000, "1.5 GB"),
        (999_700_000_000, "1 TB"),
    ],
)
def test_bytes_are_never_a_thousand_of_a_unit_that_has_a_larger_one(nbytes: float, said: str) -> None:
    assert figures.size(nbytes) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (9_999.4, "9,999"),
        (9_999.6, "10.0 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_999, "1 M"),
        (999_999_999, "1 G"),
    ],
)
def test_counts_are_exact_below_ten_thousand_and_have_three_digits_above(number: float, said: str) -> None:
    assert figures.count(number) == said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0/s"), (1.25, "1.25/s"), (9_999.4, "9999/s"), (9_999.9, "10.0 k/s")]
)
def test_rates_have_a_unit_from_ten_thousand_on(number: float, said: str) -> None:
    assert figures.rate(number) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0.0%"),
        (0.05, "5.0%"),
        (0.5, "50%"),
        (0.994, "99%"),
        (0.996, "99.6%"),
        (0.9999, "99.9%"),
        (1, "100%"),
    ],
)
def test_only_all_of_it_is_a_hundred_percent(share: float, said: str) -> None:
    assert figures.percent(share) == said


def labels(edges: tuple[float, ...]) -> list[str]:
    """What the axis of a histogram says of its bins."""
    drawn = charts.bars(Histogram(edges, (1,) * (len(edges) - 1)), x="x", y="y")
    return list(drawn.data["from"])


def test_the_edges_of_histograms_are_not_misread() -> None:
    lifespans = labels(LIFESPAN_EDGES)
    assert lifespans[:4] == ["0", "1", "2", "4"]
    assert lifespans[10:] == ["512", "1,024", "2,048", "4,096", "8,192", "16.4 k", "32.8 k"]
    priorities = labels(PRIORITY_EDGES)
    assert priorities[-6:] == ["1,000", "3,162", "10.0 k", "31.6 k", "100 k", "316 k"]
    for names in (lifespans, priorities):
        assert len(set(names)) == len(names)


def test_flows_without_keys_are_drawn_as_thin_as_can_be() -> None:
    flows = [FlowStatus("hot", "warm", "moved", 0, 0), FlowStatus("warm", "cold", "repaired", 0, 0)]
    drawn = charts.flow_diagram(flows, ["hot", "warm", "cold"], dark=False)
    assert re.findall(r"penwidth=([\d.]+), style=(\w+)", drawn) == [("1.0", "solid"), ("1.0", "dashed")]
    assert "0 keys" in drawn
    assert "->" in charts.flow_diagram([], ["hot", "warm"], dark=True)
