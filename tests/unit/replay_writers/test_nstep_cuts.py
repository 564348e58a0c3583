"""A cut ends single steps too, whatever has been sent before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memories.replay import NStepWriter, ReplayBuffer, SequenceSampler

from .sinks import ListSink


def step(obs: int, truncated: bool = False) -> dict[str, Any]:
    return {"obs": obs, "next_obs": obs + 1, "reward": 0.0, "terminated": False, "truncated": truncated}


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("how", ["cut", "discard"])
def test_sequences_do_not_cross_a_cut_after_a_flush(batch_size: int, how: str) -> None:
    buffer = ReplayBuffer(capacity=100, sampler=SequenceSampler(4), seed=0)
    writer = NStepWriter(buffer, n=1, batch_size=batch_size)
    for episode in range(3):
        for t in range(6):
            writer.add(**step(10 * episode + t))
        writer.flush()
        getattr(writer, how)()
    writer.flush()
    assert len(buffer) == 18
    runs = buffer.sample(300)["obs"]
    np.testing.assert_array_equal(runs, runs[:, :1] + np.arange(4))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_end_of_one_environment_leaves_the_newest_step_of_another_to_be_cut(batch_size: int) -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=1, num_envs=2, batch_size=batch_size)
    for t in range(5):
        writer.add(env_id=1, **step(100 + t))
        writer.add(env_id=0, **step(t, truncated=t == 4))
    writer.cut([1])
    writer.close()
    ended = {row["obs"] for row in sink.rows() if row["truncated"]}
    assert ended == {4, 104}
    assert len(sink.rows()) == 10


def test_only_the_newest_step_of_a_running_episode_waits() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=1, batch_size=10)
    for t in range(3):
        writer.add(**step(t))
    writer.flush()
    assert sink.columns["obs"].tolist() == [0, 1]
    writer.add(**step(3, truncated=True))
    assert sink.columns["obs"].tolist() == [0, 1, 2, 3]
