"""The demo's plots and page, without a run."""

from __future__ import annotations

import re
from pathlib import Path

from memories.demo.plot_svg import draw
from memories.demo.record import Mark, Plot, Record, Series, shown
from memories.demo.report import write_report


def test_figures_are_shown_as_people_read_them() -> None:
    assert [shown(v) for v in (1234567, 12.0, 1.2345, 123.45, "hot")] == [
        "1,234,567",
        "12",
        "1.23",
        "123.5",
        "hot",
    ]


def test_points_lie_where_their_values_say() -> None:
    plot = Plot("t", "x", "y", (Series("a", (0.0, 5.0, 10.0), (0.0, 2.0, 4.0)),))
    points = re.search(r'<polyline points="([^"]+)"', draw(plot))
    assert points is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in points[1].split())
    assert x0 < x1 < x2
    assert abs((x1 - x0) - (x2 - x1)) < 0.2
    assert y0 > y1 > y2
    assert abs((y0 - y1) - (y1 - y2)) < 0.2


def test_stacked_areas_add_up_and_long_series_keep_their_last_point() -> None:
    n = 5_000
    x = tuple(float(i) for i in range(n))
    plot = Plot(
        "t",
        "x",
        "y",
        (Series("a", x, (1.0,) * n), Series("b", x, (2.0,) * n)),
        (Mark(10.0, "<kill>"),),
        stacked=True,
    )
    svg = draw(plot)
    tops = [p.split(" ")[0].split(",") for p in re.findall(r'<polygon points="([^"]+)"', svg)]
    (_, upper), (_, lower) = tops  # the highest is drawn first
    assert float(upper) < float(lower)
    assert svg.count(",") < 5_000
    assert "&lt;kill&gt;" in svg


def test_the_page_quotes_what_it_shows(tmp_path: Path) -> None:
    record = Record(1, "0")
    record.section("<b>", "text").add("what", "a {name} & <i>", name="</script><script>alert(1)</script>")
    page = write_report(record, tmp_path / "x.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;b&gt;" in page
