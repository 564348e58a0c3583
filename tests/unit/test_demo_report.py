"""The demo's plots and page, and what it does where it cannot begin, without a run."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from memories import demo
from memories.demo import stage
from memories.demo.plot_svg import draw
from memories.demo.record import Mark, Plot, Record, Series, shown
from memories.demo.report import write_report
from memories.errors import InvalidValue


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


@pytest.mark.parametrize("name", ["file/demo.html", "folder"])
def test_a_report_that_cannot_be_written_is_noticed_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(stage, "set_stage", lambda **_: pytest.fail("it has started"))
    with pytest.raises(InvalidValue, match=name):
        demo.run(report=tmp_path / name, console=Console(file=io.StringIO()))


def test_a_report_is_whole_or_not_there_and_a_device_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(Record(1, "0"), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    (tmp_path / "x.html").write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no room")))
    with pytest.raises(OSError, match="no room"):
        write_report(Record(1, "0"), tmp_path / "x.html")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.html", "old")]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("broken", ["head", "cluster"])
def test_a_start_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, broken: str
) -> None:
    ended: list[str] = []

    def start(what: str, made: Any = None) -> Any:
        if what == broken:
            raise RuntimeError(f"no {what}")
        return made

    nodes = SimpleNamespace(address="", add_node=lambda **_: None, shutdown=lambda: ended.append("nodes"))
    modules = {
        "ray": SimpleNamespace(
            is_initialized=lambda: False, init=lambda **_: None, shutdown=lambda: ended.append("ray")
        ),
        "ray.cluster_utils": SimpleNamespace(Cluster=lambda **_: start("head", nodes)),
        "memories.actors.cluster": SimpleNamespace(connect=lambda **_: start("cluster")),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    for name, value in stage.QUICK_TO_NOTICE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    streams = sys.stdout, sys.stderr
    with pytest.raises(RuntimeError, match=broken), stage.set_stage(keep=keep):
        pytest.fail("it has started")
    assert (sys.stdout, sys.stderr) == streams
    assert list(tmp_path.iterdir()) == []
    assert ended == ([] if broken == "head" else ["ray", "nodes"])
