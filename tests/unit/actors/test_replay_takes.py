"""Rows of queues and stacks that leave for readers: the replicated state, and the shard around it."""

from __future__ import annotations

import numpy as np
import pytest

from memories.actors.replay.core import events as ev
from memories.actors.replay.core.model import Replica, ShardView
from memories.actors.replay.core.replicated import ReplicatedRows, TakenRows
from memories.actors.replay.core.shard import ShardCore
from memories.actors.replay.spec import ReplaySpec
from memories.errors import InvalidValue
from memories.replay import Schema

SCHEMA = Schema({"row": "int64"})


def spec_of(kind: str, **options: object) -> ReplaySpec:
    return ReplaySpec(name="q", schema=SCHEMA, kind=kind, capacity=100, **options)  # type: ignore[arg-type]


def insert(start: int, count: int, number: int) -> ev.InsertRows:
    return ev.InsertRows("w", 0, number, number, {"row": np.arange(start, start + count)})


def taken(rows: ReplicatedRows, number: int, count: int, reader: str = "r") -> list[int]:
    done = rows.apply(ev.TakeRows(reader, 0, number, count))
    assert isinstance(done.result, TakenRows)
    assert done.result.number == number
    return [] if done.result.columns is None else done.result.columns["row"].tolist()


@pytest.fixture(params=["queue", "stack"])
def replicas(request: pytest.FixtureRequest) -> tuple[ReplicatedRows, ReplicatedRows]:
    spec = spec_of(request.param)
    return ReplicatedRows(lambda: spec.make_buffer(0)), ReplicatedRows(lambda: spec.make_buffer(0))


def test_the_same_number_gives_the_same_rows_and_replicas_agree(
    replicas: tuple[ReplicatedRows, ReplicatedRows],
) -> None:
    """Every take reaches both replicas; then one goes on from the other's exported state."""
    seen: list[int] = []
    stack = "Lifo" in str(replicas[0].buffer._sampler.describe())
    for number, start in enumerate(range(0, 200, 10), 1):
        for rows in replicas:
            rows.apply(insert(start, 10, number))
        first = [taken(rows, number, 10) for rows in replicas]
        again = [taken(rows, number, 7) for rows in replicas]  # the answer was lost
        assert first[0] == first[1] == again[0] == again[1]
        expected = range(start + 9, start - 1, -1) if stack else range(start, start + 10)
        assert first[0] == list(expected)
        seen += first[0]
        heir = ReplicatedRows(replicas[0]._make_buffer)
        heir.become(replicas[0].export())
        assert taken(heir, number, 10) == first[0]
    assert sorted(seen) == list(range(200))
    assert taken(replicas[0], 3, 10) == []  # a repetition of long ago
    assert [len(rows.buffer) for rows in replicas] == [0, 0]
    assert replicas[0].sampled == 200


def test_readers_share_the_rows_and_a_shard_that_leaves_gives_none() -> None:
    spec = spec_of("queue")
    rows = ReplicatedRows(lambda: spec.make_buffer(0))
    rows.apply(insert(0, 30, 1))
    assert taken(rows, 1, 10, "a") == list(range(10))
    assert taken(rows, 1, 10, "b") == list(range(10, 20))
    rows.apply(ev.CloseInserts())
    assert taken(rows, 2, 10, "b") == []
    assert taken(rows, 1, 10, "a") == list(range(10))
    heir = ReplicatedRows(lambda: spec.make_buffer(1))
    heir.apply(ev.TakeMarks(rows.marks.export(), tuple(rows.taken.values())))
    assert taken(heir, 1, 10, "a") == list(range(10))  # the answer of the shard that is gone


def test_rows_are_given_as_often_as_the_limit_says() -> None:
    spec = spec_of("queue", max_times_sampled=3)
    rows = ReplicatedRows(lambda: spec.make_buffer(0))
    rows.apply(insert(0, 4, 1))
    assert [taken(rows, number, 4) for number in range(1, 5)] == [[0, 1, 2, 3]] * 3 + [[]]


def test_a_batch_without_room_is_held_back_beside_those_that_wait_for_the_backup() -> None:
    spec = spec_of("queue")
    me, backup = Replica("a", "1", "n1"), Replica("b", "1", "n2")
    core = ShardCore(me, 0, lambda: spec.make_buffer(0), lambda: 0.0, keeps_all=True)
    core.handle(ev.Adopt(ShardView(0, 1, me)))

    def answers(event: ev.Event) -> list[object]:
        return [command.value for command in core.handle(event) if isinstance(command, ev.Answer)]

    assert answers(ev.Propose(1, insert(0, 60, 1))) == [ev.Done()]
    assert answers(ev.Propose(2, insert(60, 41, 2))) == [ev.Full()]
    assert answers(ev.Propose(3, insert(60, 40, 2))) == [ev.Done()]
    assert answers(ev.Propose(4, insert(60, 40, 2))) == [ev.Done()]  # it is in already: a full shard says so
    (done,) = answers(ev.Propose(5, ev.TakeRows("r", 0, 1, 50)))
    assert isinstance(done, ev.Done)
    core.handle(ev.Adopt(ShardView(0, 2, me, candidate=backup)))
    core.handle(ev.PeerAnswer(backup, 2, applied=3))
    assert answers(ev.Propose(6, insert(100, 30, 3))) == []  # waits for the backup
    assert answers(ev.Propose(7, insert(130, 30, 4))) == [ev.Full()]
    assert answers(ev.PeerAnswer(backup, 2, applied=4)) == [ev.Done()]
    assert core.rows.buffer.inserted == 130


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InvalidValue, match="max_times_sampled"):
        spec_of("uniform", max_times_sampled=1)
    with pytest.raises(InvalidValue, match="samples_per_insert"):
        spec_of("stack", samples_per_insert=4.0)
    with pytest.raises(InvalidValue, match="max_times_sampled"):
        spec_of("queue", max_times_sampled=0)
    spec = spec_of("queue", max_times_sampled=2)
    assert ReplaySpec.from_json(spec.to_json()) == spec
