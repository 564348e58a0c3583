"""Episodes whose relabelling raises: they are neither written twice nor joined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from memories.replay.writers import EpisodeWriter

from .sinks import ListSink


class Gone(Exception):
    """What the simulator raises."""


class Relabel:
    """Writes every row once more with a negative number; raises in the calls that are named."""

    def __init__(self, failing: Iterable[int]) -> None:
        self.failing, self.calls = set(failing), 0

    def __call__(self, episode: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls += 1
        if self.calls in self.failing:
            raise Gone
        return {**episode, "x": -episode["x"]}


def step(*numbers: float, ends: bool = False) -> dict[str, Any]:
    count = len(numbers)
    return {
        "x": np.asarray(numbers, np.float64),
        "terminated": np.full(count, ends),
        "truncated": np.zeros(count, np.bool_),
    }


def one(number: float, ends: bool = False) -> dict[str, Any]:
    return {"x": number, "terminated": ends, "truncated": False}


def test_a_step_whose_relabelling_raises_was_not_taken() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, num_envs=2, relabel=Relabel([2, 3]))
    writer.add_vector(**step(1, 101))
    for _ in range(2):
        with pytest.raises(Gone):
            writer.add_vector(**step(2, 102, ends=True))
        assert not sink.batches
    writer.add_vector(**step(2, 102, ends=True))
    writer.close()
    assert sink.columns["x"].tolist() == [1, 2, -1, -2, 101, 102, -101, -102]
    assert not sink.columns["truncated"].any()


def test_a_single_step_whose_relabelling_raises_was_not_taken() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, relabel=Relabel([1]))
    writer.add(**one(np.nan))
    with pytest.raises(Gone):
        writer.add(**one(2, ends=True))
    writer.add(**one(2, ends=True))
    np.testing.assert_array_equal(sink.columns["x"], [np.nan, 2, np.nan, -2])


def test_episodes_are_not_joined_where_the_refused_step_is_not_given_again() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, num_envs=2, relabel=Relabel([1]))
    writer.add_vector(**step(1, 101))
    last = step(2, 102)
    last["terminated"][0] = True
    with pytest.raises(Gone):
        writer.add_vector(**last)
    writer.add_vector(**step(11, 103))  # a new episode of the first, and a step is missing in the second
    writer.add_vector(**step(12, 104, ends=True))
    assert [batch["x"].tolist() for batch in sink.batches] == [
        [1, -1, 101, -101],
        [11, 12, -11, -12, 103, 104, -103, -104],
    ]
    assert sink.batches[0]["truncated"].all()
    assert not sink.batches[1]["truncated"].any()


def test_single_steps_after_a_refused_one_begin_an_episode_also_if_they_end_it() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, relabel=Relabel([1, 2]))
    writer.add(**one(1))
    with pytest.raises(Gone):
        writer.add(**one(2, ends=True))
    with pytest.raises(Gone):  # the cut is relabelled as well
        writer.add(**one(11, ends=True))
    writer.add(**one(11, ends=True))
    assert sink.columns["x"].tolist() == [1, -1, 11, -11]
    assert sink.columns["truncated"].tolist() == [True, True, False, False]


def test_a_cut_whose_relabelling_raises_changes_nothing() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, relabel=Relabel([1]))
    writer.add(**one(1))
    with pytest.raises(Gone):
        writer.cut()
    writer.add(**one(2, ends=True))
    assert sink.columns["x"].tolist() == [1, 2, -1, -2]
    assert not sink.columns["truncated"].any()


def test_after_a_cut_or_a_discard_nothing_is_remembered() -> None:
    for how in ("cut", "discard"):
        sink = ListSink()
        writer = EpisodeWriter(sink, relabel=Relabel([1]))
        writer.add(**one(1))
        with pytest.raises(Gone):
            writer.add(**one(2, ends=True))
        getattr(writer, how)()
        writer.add(**one(3))
        writer.add(**one(4, ends=True))
        assert sink.batches[-1]["x"].tolist() == [3, 4, -3, -4]
