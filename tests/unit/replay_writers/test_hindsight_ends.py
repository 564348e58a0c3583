"""Relabelled rows as samplers of sequences and of episodes see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memories.replay import EpisodeSampler, ReplayBuffer, SequenceSampler
from memories.replay.writers import EpisodeWriter, Hindsight


@pytest.mark.parametrize("sampler_class", [EpisodeSampler, SequenceSampler])
@pytest.mark.parametrize("copies", [1, 3])
def test_relabelled_rows_of_two_episodes_are_never_drawn_together(sampler_class: Any, copies: int) -> None:
    sampler = EpisodeSampler() if sampler_class is EpisodeSampler else SequenceSampler(3)
    buffer = ReplayBuffer(capacity=2000, sampler=sampler, seed=0)

    def reached(achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return np.asarray((achieved == desired).all(-1))

    def reward(achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return reached(achieved, desired, info).astype(np.float32)

    relabel = Hindsight(reward, "episode", copies, compute_terminated=reached, seed=3)
    writer = EpisodeWriter(buffer, relabel=relabel)
    for episode in range(40):
        for t in range(4):
            here, there = (
                {"achieved_goal": np.asarray([100 * episode + k]), "desired_goal": np.asarray([-1])}
                for k in (t, t + 1)
            )
            writer.add(obs=here, next_obs=there, reward=np.float32(0), terminated=t == 3, truncated=False)
    batch = buffer.sample(300)
    name = "obs/achieved_goal"
    drawn = [e[name] for e in batch.episodes()] if batch.lengths is not None else list(batch[name])
    for run in drawn:
        places = run.ravel()
        np.testing.assert_array_equal(places, places[0] + np.arange(len(places)))


def test_what_ended_and_does_not_terminate_for_its_new_goal_is_truncated() -> None:
    def never(achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return np.zeros(len(achieved), np.bool_)

    columns: dict[str, Any] = {
        name: np.arange(3.0)[:, None]
        for name in ("obs/desired_goal", "next_obs/desired_goal", "next_obs/achieved_goal")
    }
    columns |= {"reward": np.zeros(3), "truncated": np.zeros(3, np.bool_)}
    columns["terminated"] = np.asarray([False, False, True])
    rows = Hindsight(never, copies=2, compute_terminated=never, seed=0)(columns)
    assert not rows["terminated"].any()
    assert rows["truncated"].tolist() == [False, False, True] * 2
    assert not columns["truncated"].any()
