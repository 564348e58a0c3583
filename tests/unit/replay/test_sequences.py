"""Sequences and episodes against an oracle that keeps every row in a plain list."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memories.errors import InvalidValue, NothingToSample
from memories.replay import (
    EpisodeSampler,
    NewestRemover,
    OldestRemover,
    ReplayBuffer,
    Schema,
    SequenceSampler,
    UniformRemover,
)

SCHEMA = Schema({"row": "i8", "stream": "i8", "done": "?"})
LENGTH = 3


class Oracle:
    """All rows ever inserted, in order, and which are alive."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, bool]] = []  # stream, done; the index is the row's number
        self.alive: set[int] = set()

    def episodes(self) -> list[tuple[list[int], bool]]:
        """Row numbers of every episode there has ever been, and whether it ended."""
        open_: dict[int, list[int]] = {}
        found: list[tuple[list[int], bool]] = []
        for number, (stream, done) in enumerate(self.rows):
            open_.setdefault(stream, []).append(number)
            if done:
                found.append((open_.pop(stream), True))
        return found + [(rows, False) for rows in open_.values()]

    def sequences(self, length: int) -> set[tuple[int, ...]]:
        return {
            tuple(rows[i : i + length])
            for rows, _ in self.episodes()
            for i in range(len(rows) - length + 1)
            if self.alive.issuperset(rows[i : i + length])
        }

    def whole(self) -> set[tuple[int, ...]]:
        return {tuple(rows) for rows, ended in self.episodes() if ended and self.alive.issuperset(rows)}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("one"), st.integers(0, 2), st.booleans()),
        st.tuples(
            st.just("many"), st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=14)
        ),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 60), min_size=1, max_size=5)),
        st.tuples(st.just("look")),
    ),
    max_size=30,
)


@pytest.mark.parametrize("remover", [OldestRemover, NewestRemover, UniformRemover])
@settings(max_examples=50, deadline=None)
@given(steps=steps, capacity=st.integers(4, 15))
def test_every_run_and_no_other(remover: type[Any], steps: list[Any], capacity: int) -> None:
    buffers = [
        ReplayBuffer(SCHEMA, capacity, sampler=sampler, remover=remover(), seed=1)
        for sampler in (
            SequenceSampler(LENGTH, stream_column="stream"),
            EpisodeSampler(stream_column="stream"),
        )
    ]
    oracle = Oracle()
    handles: list[int] = []
    for step in [*steps, ("look",)]:
        if step[0] in ("one", "many"):
            new = [step[1:]] if step[0] == "one" else step[1]
            first = len(oracle.rows)
            oracle.rows += new
            numbers = np.arange(first, first + len(new))
            streams, dones = (np.array(column) for column in zip(*new, strict=True))
            for buffer in buffers:
                if step[0] == "one":
                    given_handles = [buffer.add(row=first, stream=new[0][0], done=new[0][1])]
                else:
                    given_handles = buffer.add_batch(
                        {"row": numbers, "stream": streams, "done": dones}
                    ).tolist()
            handles += given_handles
        elif step[0] == "remove":
            chosen = [handles[i] for i in step[1] if i < len(handles)]
            assert len({buffer.remove(chosen) for buffer in buffers}) == 1
        alive = [set(buffer._columns.views["row"][buffer._slots.live()].tolist()) for buffer in buffers]
        assert alive[0] == alive[1]
        oracle.alive = alive[0]
        if step[0] == "look":
            _check(buffers, oracle)


def _check(buffers: list[ReplayBuffer], oracle: Oracle) -> None:
    expected = oracle.sequences(LENGTH)
    if expected:
        batch = buffers[0].sample(64)
        assert batch["row"].shape == (64, LENGTH)
        assert {tuple(run) for run in batch["row"].tolist()} <= expected
        assert batch.population == len(expected)
    else:
        with pytest.raises(NothingToSample, match=r"rows in a row|is empty"):
            buffers[0].sample(1)
    episodes = oracle.whole()
    if episodes:
        batch = buffers[1].sample(16)
        assert {tuple(e["row"].tolist()) for e in batch.episodes()} <= episodes
        assert batch.population == len(episodes)
    else:
        with pytest.raises(NothingToSample, match=r"complete episode|is empty"):
            buffers[1].sample(1)


def test_sequences_from_one_stream_are_consecutive_after_wrapping() -> None:
    buffer = ReplayBuffer(capacity=100, sampler=SequenceSampler(8), seed=0)
    for start in range(0, 1000, 37):
        n = np.arange(start, start + 37)
        buffer.add_batch({"n": n, "done": n % 50 == 49})
        if start < 8:
            continue
        runs = buffer.sample(256)["n"]
        assert all((np.diff(run) == 1).all() for run in runs)
        assert not (runs[:, :-1] % 50 == 49).any()
        assert runs.min() >= buffer.inserted - 100


def test_handles_of_sequences_name_their_first_row() -> None:
    buffer = ReplayBuffer(capacity=10, sampler=SequenceSampler(2, end_columns=[]), seed=0)
    handles = buffer.add_batch({"n": np.arange(5)})
    batch = buffer.sample(20)
    assert (handles[batch["n"][:, 0]] == batch.handles).all()


def test_a_schema_without_an_end_column_is_refused() -> None:
    with pytest.raises(InvalidValue, match="end_columns"):
        ReplayBuffer(Schema({"n": "i8"}), 10, sampler=SequenceSampler(2))


def test_all_pairs_of_an_endless_stream() -> None:
    buffer = ReplayBuffer(capacity=5, sampler=SequenceSampler(2, end_columns=[]), seed=0)
    for n in range(12):
        buffer.add(n=n)
    assert {tuple(r) for r in buffer.sample(200)["n"].tolist()} == set(pairwise(range(7, 12)))
