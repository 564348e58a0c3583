"""What a replay shard says of itself: ages, priorities and counts are those of its rows."""

from __future__ import annotations

import numpy as np

from memories.actors.replay.core import events as ev
from memories.actors.replay.core.model import Replica, ShardView
from memories.actors.replay.core.shard import ShardCore
from memories.actors.replay.shard_figures import LARGE_ROWS, ShardFigures
from memories.actors.replay.spec import ReplaySpec
from memories.actors.reports import ShardReport
from memories.replay import Schema

ME = Replica("actor", "life", "n1")


class Shard:
    """A primary of its own, at a time that goes only when told."""

    def __init__(self, capacity: int, replicas: int = 1) -> None:
        self.now_s = 1000.0
        schema = Schema.from_example({"x": np.zeros(3, np.float32)})
        spec = ReplaySpec(name="b", schema=schema, kind="prioritized", capacity=capacity, replicas=replicas)
        self.core = ShardCore(ME, 0, lambda: spec.make_buffer(0), self.clock)
        self.core.handle(ev.Adopt(ShardView(0, 1, ME)))
        self.figures = ShardFigures(self.core, spec, self.clock)
        self.batches = 0

    def clock(self) -> float:
        return self.now_s

    def insert(self, rows: int, priority: float = 1.0) -> None:
        self.batches += 1
        columns = {"x": np.zeros((rows, 3), np.float32)}
        self.core.handle(
            ev.Propose(self.batches, ev.InsertRows("w", 0, self.batches, 0, columns, np.full(rows, priority)))
        )
        self.figures.tick()

    def later(self, seconds: float) -> None:
        self.now_s += seconds
        self.figures.tick()

    @property
    def report(self) -> ShardReport:
        return self.figures.report()

    @property
    def row_ages(self) -> dict[float, int]:
        ages = self.report.row_ages
        return {low: count for low, count in zip(ages.edges, ages.counts, strict=False) if count}


def test_rows_are_as_old_as_they_are_and_the_oldest_leave_first() -> None:
    shard = Shard(capacity=100)
    shard.insert(60)
    shard.later(300)
    shard.insert(40)
    shard.later(15)
    assert shard.row_ages == {300.0: 60, 10.0: 40}
    shard.insert(50)  # 50 of the first 60 leave
    assert shard.row_ages == {300.0: 10, 10.0: 40, 0.0: 50}
    report = shard.report
    assert (report.rows, report.inserted, report.capacity, report.nbytes) == (100, 150, 100, 1200)
    assert (report.role, report.node, report.view, report.in_sync, report.solo) == (
        "primary",
        "n1",
        1,
        True,
        False,
    )


def test_staleness_is_the_age_of_what_is_drawn() -> None:
    shard = Shard(capacity=50)
    shard.insert(50)
    shard.later(30)
    shard.insert(25)
    shard.later(5)
    handles = shard.core.rows.buffer.handles()
    shard.figures.drawn(np.sort(handles)[:10])  # of the rows that were inserted first
    drawn = shard.report.draw_ages
    assert drawn.total == 10
    assert drawn.counts[drawn.edges.index(20.0)] == 10
    shard.figures.drawn(np.sort(handles)[-10:])
    drawn = shard.report.draw_ages
    assert drawn.counts[drawn.edges.index(5.0)] == 10


def test_priorities_are_counted_and_scaled_where_there_are_many() -> None:
    shard = Shard(capacity=2 * LARGE_ROWS)
    shard.insert(LARGE_ROWS, priority=0.5)
    shard.insert(LARGE_ROWS // 2, priority=20.0)
    priorities = shard.report.priorities
    filled = {low: count for low, count in zip(priorities.edges, priorities.counts, strict=False) if count}
    assert sorted(filled) == [0.316228, 10.0]
    assert abs(filled[0.316228] - LARGE_ROWS) < 0.01 * LARGE_ROWS
    assert abs(filled[10.0] - LARGE_ROWS / 2) < 0.01 * LARGE_ROWS


def test_updates_that_come_too_late_are_told_apart_and_a_lone_copy_says_so() -> None:
    shard = Shard(capacity=10, replicas=2)
    shard.insert(10)
    old = shard.core.rows.buffer.handles()
    shard.insert(4)
    shard.figures.updated(shard.core.rows.buffer.update_priorities(old, np.ones(10)))
    assert (shard.report.updated, shard.report.stale_updates) == (6, 4)
    assert shard.report.solo
