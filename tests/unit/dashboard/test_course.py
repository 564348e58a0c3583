"""The figures over time, and what the pages make of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memories.actors.reports import SessionReport
from memories.actors.status import MemoriaStatus, Snapshot
from memories.dashboard.course import KEPT_POINTS, Course
from memories.dashboard.pages import memoria


@pytest.mark.parametrize("step_s", [0.0, -1.0])
def test_a_clock_that_does_not_go_on_takes_no_memory(step_s: float) -> None:
    course = Course()
    for number in range(2 * KEPT_POINTS):
        course.add(Snapshot(cluster="c", taken_s=1e9 + number * step_s))
    assert len(course) == KEPT_POINTS
    assert len(course._reads) <= KEPT_POINTS


def test_a_session_is_drawn_without_those_whose_names_begin_as_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = (
        SessionReport(session="a", working=1, shortterm=2, longterm=3),
        SessionReport(session="a/b", working=99, shortterm=99, longterm=99),
        SessionReport(session="a/working", working=98),
    )
    network = MemoriaStatus("story", "n", "cpu", sessions)
    snapshot = Snapshot(cluster="c", taken_s=1.0, memoria=(network,))
    course = Course()
    course.add(snapshot)
    drawn: list[Any] = []
    monkeypatch.setattr(memoria.charts, "lines", lambda points, **_: drawn.extend(points))
    monkeypatch.setattr(memoria, "chart", lambda drawing: None)
    poller: Any = SimpleNamespace(series=course.series)
    view: Any = SimpleNamespace(snapshot=snapshot)
    memoria.draw(poller, view)
    assert drawn == [(1.0, "working", 1), (1.0, "short-term", 2), (1.0, "long-term", 3)]
