"""A replica's state in pieces: of one moment, bounded, and nothing shows before the last piece."""

from __future__ import annotations

import numpy as np
import pytest

from memories.actors.replay.core import events as ev
from memories.actors.replay.core.replicated import ReplicatedRows
from memories.actors.replay.spec import ReplaySpec
from memories.replay import Schema

SCHEMA = Schema({"row": "int64", "obs": ((5,), "float32")})
CAPACITY = 500
PIECE_ROWS = 40


def replica(kind: str) -> ReplicatedRows:
    spec = ReplaySpec(name="x", schema=SCHEMA, kind=kind, capacity=CAPACITY, seed=3)
    rows = ReplicatedRows(lambda: spec.make_buffer(0))
    rows.piece_bytes = PIECE_ROWS * SCHEMA.row_nbytes
    return rows


def insert(rows: ReplicatedRows, start: int, count: int, number: int) -> None:
    row = np.arange(start, start + count)
    columns = {"row": row, "obs": np.repeat(row[:, None], 5, 1).astype("f4")}
    assert rows.apply(ev.InsertRows("w", 0, number, number, columns)).error is None


def contents(rows: ReplicatedRows) -> tuple[list[int], list[int], list[list[object]]]:
    handles = rows.buffer.handles()
    if not handles.size:
        return [], [], rows.marks.export()
    batch, _ = rows.buffer.read(handles)
    assert (batch["obs"] == batch["row"][:, None]).all()
    return batch["row"].tolist(), handles.tolist(), rows.marks.export()


@pytest.mark.parametrize("kind", ["uniform", "prioritized", "queue"])
@pytest.mark.parametrize("filled", [0, 1, 120, 500, 730])
def test_pieces_are_of_one_moment_while_the_replica_goes_on(kind: str, filled: int) -> None:
    ours, theirs = replica(kind), replica(kind)
    for number, start in enumerate(range(0, filled, 10), 1):
        insert(ours, start, min(10, filled - start), number)
        if kind == "queue" and start >= 240:
            ours.apply(ev.TakeRows("r", 0, number, 10))
    insert(theirs, 9_000, 20, 1)  # what it held before does not count
    if kind == "prioritized" and filled:
        ours.apply(ev.SetPriorities(ours.buffer.handles(), np.arange(len(ours.buffer)) + 0.5))
    moment, state = contents(ours), ours.export()
    export = ours.export_pieces()
    piece = export.next_piece()
    number, largest = 10_000, 0
    while True:
        theirs.install(piece)
        if piece.columns is not None:
            largest = max(largest, len(piece.columns["row"]))
        if piece.last:
            break
        assert contents(theirs) == ([], [], [])
        if kind != "queue":
            insert(ours, number, 75, number)  # overwrites rows before their turn
            number += 75
        piece = export.next_piece()
    export.end()
    assert ours.buffer._snapshots == []
    assert largest <= PIECE_ROWS
    assert contents(theirs) == moment
    whole = replica(kind)
    whole.become(state)
    if moment[0]:
        if kind == "prioritized":
            handles = np.array(moment[1])
            assert np.array_equal(theirs.buffer.priorities_of(handles), np.arange(len(handles)) + 0.5)
        draws = [rows.buffer.sample(min(64, len(moment[0])))["row"] for rows in (whole, theirs)]
        assert np.array_equal(*draws)
    assert list(theirs.taken) == list(whole.taken)


def test_a_new_first_piece_begins_anew() -> None:
    """Another view, another state: what the candidate has of the last one is dropped."""
    first, second, theirs = replica("uniform"), replica("uniform"), replica("uniform")
    insert(first, 0, 100, 1)
    insert(second, 500, 50, 1)
    theirs.install(first.export_pieces().next_piece())
    export = second.export_pieces()
    while True:
        piece = export.next_piece()
        theirs.install(piece)
        if piece.last:
            break
    assert contents(theirs) == contents(second)
