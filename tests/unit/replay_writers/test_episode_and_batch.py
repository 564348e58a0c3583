from __future__ import annotations

import numpy as np
import pytest

from memories.errors import InvalidValue
from memories.replay.writers import BatchWriter, EpisodeWriter, NStepWriter

from .sinks import ListSink


def test_an_episode_arrives_in_one_piece_when_it_ends() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, num_envs=2)
    for t in range(200):  # longer than the log begins with
        ends = np.asarray([t == 149, False])
        writer.add_vector(obs=np.asarray([t, 1000 + t]), terminated=ends, truncated=np.zeros(2, bool))
        assert len(sink.batches) == (t >= 149)
    assert sink.batches[0]["obs"].tolist() == list(range(150))
    writer.close()
    assert [batch["obs"].tolist() for batch in sink.batches[1:]] == [
        list(range(150, 200)) + list(range(1000, 1200))
    ]
    assert sink.batches[1]["truncated"].nonzero()[0].tolist() == [49, 249]


def test_two_episodes_that_end_together_do_not_mix() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink, num_envs=3)
    for t in range(4):
        ends = np.full(3, t == 3)
        writer.add_vector(obs=np.asarray([t, 10 + t, 20 + t]), terminated=ends, truncated=~ends & False)
    assert sink.columns["obs"].tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]


def test_discard_forgets_running_episodes_only() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink)
    writer.add(obs=0, terminated=False, truncated=False)
    writer.discard()
    writer.add(obs=1, terminated=True, truncated=False)
    assert sink.columns["obs"].tolist() == [1]


def test_an_episode_the_sink_refused_goes_out_before_the_next() -> None:
    sink = ListSink()
    writer = EpisodeWriter(sink)
    sink.refusals = 2
    writer.add(obs=0, terminated=True, truncated=False)
    with pytest.raises(ConnectionError):
        writer.add(obs=1, terminated=True, truncated=False)
    writer.add(obs=1, terminated=True, truncated=False)
    assert sink.columns["obs"].tolist() == [0, 1]


def test_batch_writer_keeps_order_between_single_rows_and_batches() -> None:
    sink = ListSink()
    with BatchWriter(sink, batch_size=4) as writer:
        writer.add(x=0)
        writer.add(x=1)
        writer.add_batch({"x": np.asarray([2, 3, 4])})
        writer.add(x=5)
        assert [batch["x"].tolist() for batch in sink.batches] == [[0, 1, 2, 3, 4]]
        assert len(writer) == 1
    assert sink.columns["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_batch_writer_sends_as_soon_as_a_batch_is_full() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, batch_size=3)
    for x in range(6):
        writer.add(x=x)
    assert [batch["x"].tolist() for batch in sink.batches] == [[0, 1, 2], [3, 4, 5]]


def test_batch_writer_survives_refusals_without_loss_or_repetition() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, batch_size=2)
    taken = 0
    for x in range(40):
        if x % 5 == 0:
            sink.refusals = 2
        while True:
            try:
                writer.add(x=x)
            except ConnectionError:
                continue
            taken += 1
            break
    sink.refusals = 0
    writer.flush()
    assert taken == 40
    assert sink.columns["x"].tolist() == list(range(40))


def test_batch_writer_copies_single_rows() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, batch_size=2)
    reused = np.zeros(2)
    for value in (1.0, 2.0):
        reused[:] = value
        writer.add(x=reused)
    assert sink.columns["x"].tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_batch_writer_refuses_rows_that_do_not_fit() -> None:
    sink = ListSink()
    writer = BatchWriter(sink, batch_size=10)
    writer.add(x=0)
    with pytest.raises(InvalidValue, match="same number of rows"):
        writer.add_batch({"x": np.zeros(2, int), "y": np.zeros(3)})
    with pytest.raises(InvalidValue, match="columns changed"):
        writer.add(y=0)
    with pytest.raises(InvalidValue, match="at least one column"):
        writer.add()
    writer.flush()
    assert sink.columns["x"].tolist() == [0]


def test_writers_are_sinks_for_each_other() -> None:
    sink = ListSink()
    batches = BatchWriter(sink, batch_size=100)
    with NStepWriter(batches, n=2) as writer:
        for t in range(5):
            writer.add(obs=t, reward=1.0, terminated=t == 4, truncated=False)
    batches.flush()
    assert sink.columns["obs"].tolist() == [0, 1, 2, 3, 4]
    assert len(sink.batches) == 1
