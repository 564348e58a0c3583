"""This process as the dashboard shows it: its buffers by lasting names, and its memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from memories.dashboard import local_source
from memories.dashboard.course import Course
from memories.dashboard.local_source import LocalSource
from memories.replay.buffer import ReplayBuffer
from memories.tiers.machine import ram_bytes, ram_used_bytes


class Walk(ReplayBuffer):
    """Of a kind of its own, so that buffers of other tests do not count."""


@pytest.fixture(autouse=True)
def _no_buffers_left() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


def buffer(rows: int) -> Walk:
    made = Walk(capacity=1000)
    insert(made, rows)
    return made


def insert(into: Walk, rows: int) -> None:
    for row in range(rows):
        into.add(x=float(row))


def shown(source: LocalSource) -> dict[str, int]:
    """Rows by name, in the order of the page."""
    return {b.name: b.rows for b in source.snapshot().replay if b.name.startswith(Walk.__name__)}


def test_a_buffer_keeps_its_name_when_another_outgrows_it() -> None:
    source, course = LocalSource(), Course()
    still, growing = buffer(10), buffer(0)
    for _ in range(5):
        insert(growing, 4)
        course.add(source.snapshot())
    courses = {
        name: [value for _, drawn, value in course.series("rows/") if drawn == name]
        for name in ("Walk", "Walk 2")
    }
    assert courses == {"Walk": [10] * 5, "Walk 2": [4, 8, 12, 16, 20]}
    assert list(shown(source)) == ["Walk 2", "Walk"], "the largest comes first"
    assert len(still) == 10


def test_a_new_buffer_takes_neither_name_nor_rates_of_one_that_is_gone() -> None:
    source = LocalSource()
    for number in range(1, 6):
        one = buffer(number)
        name = "Walk" if number == 1 else f"Walk {number}"
        assert shown(source) == {name: number}
        (status,) = [b for b in source.snapshot().replay if b.name == name]
        assert status.inserts_per_s == 0.0
        del one
        gc.collect()


def test_what_is_known_of_buffers_that_are_gone_is_dropped() -> None:
    source = LocalSource()
    kept = buffer(1)
    source.snapshot()
    for _ in range(20):
        passing = buffer(1)
        source.snapshot()
        del passing
        gc.collect()
    assert shown(source) == {"Walk": 1}
    names = {status.name for status in source.snapshot().replay}
    assert set(source._rates._points) == names
    assert len(source._names) == len(names)
    assert len(kept) == 1


def test_in_a_container_its_own_memory_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("64000000\n")
    (tmp_path / "memory.current").write_text("30000000\n")
    (tmp_path / "memory.stat").write_text("anon 9000000\ninactive_file 20000000\n")
    monkeypatch.setattr(local_source, "ram_bytes", partial(ram_bytes, tmp_path))
    monkeypatch.setattr(local_source, "ram_used_bytes", partial(ram_used_bytes, tmp_path))
    (node,) = LocalSource().snapshot().nodes
    assert (node.memory_used_bytes, node.memory_total_bytes) == (10_000_000, 64_000_000)
