from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from memories.errors import InvalidType, InvalidValue
from memories.replay.writers import EpisodeWriter, Hindsight

from .sinks import ListSink


class Line(gymnasium.Env[dict[str, Any], int]):
    """A goal environment: walk right; the goal is a place on a line of whole numbers."""

    observation_space = spaces.Dict(
        {
            "observation": spaces.Box(0, 100, (1,), np.float32),
            "achieved_goal": spaces.Box(0, 100, (1,), np.float32),
            "desired_goal": spaces.Box(0, 100, (1,), np.float32),
        }
    )
    action_space = spaces.Discrete(2)

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return -(np.linalg.norm(achieved - desired, axis=-1) > 0.5).astype(np.float32)

    def compute_terminated(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return self.compute_reward(achieved, desired, info) == 0

    def observe(self) -> dict[str, np.ndarray]:
        place = np.asarray([self.place], np.float32)
        return {
            "observation": place,
            "achieved_goal": place.copy(),
            "desired_goal": np.asarray([99.0], np.float32),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.place = 0
        return self.observe(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.place += 1
        obs = self.observe()
        reward = float(self.compute_reward(obs["achieved_goal"], obs["desired_goal"], {}))
        return obs, reward, False, self.place == 10, {}


def write_episode(hindsight: Hindsight) -> ListSink:
    env, sink = Line(), ListSink()
    writer = EpisodeWriter(sink, relabel=hindsight)
    obs, _ = env.reset()
    ended = False
    while not ended:
        after, reward, terminated, truncated, _ = env.step(1)
        writer.add(
            obs=obs, action=1, reward=reward, next_obs=after, terminated=terminated, truncated=truncated
        )
        obs, ended = after, terminated or truncated
    return sink


def test_the_episode_is_written_first_and_as_it_was() -> None:
    sink = write_episode(Hindsight.from_env(Line(), copies=4, seed=0))
    assert len(sink.batches) == 1
    columns = sink.batches[0]
    assert len(columns["reward"]) == 10 * (1 + 4)
    assert columns["obs/desired_goal"][:10].ravel().tolist() == [99.0] * 10
    assert columns["reward"][:10].tolist() == [-1.0] * 10
    assert columns["truncated"][:10].tolist() == [False] * 9 + [True]


def test_future_goals_are_reached_now_or_later_and_all_equally_often() -> None:
    columns = write_episode(Hindsight.from_env(Line(), "future", copies=4000, seed=1)).batches[0]
    before = columns["obs/observation"][10:].ravel()
    goals = columns["obs/desired_goal"][10:].ravel()
    assert (goals > before).all()
    assert (goals <= 10).all()
    np.testing.assert_array_equal(goals, columns["next_obs/desired_goal"][10:].ravel())
    reached = columns["next_obs/achieved_goal"][10:].ravel() == goals
    np.testing.assert_array_equal(columns["reward"][10:], np.where(reached, 0.0, -1.0))
    np.testing.assert_array_equal(columns["terminated"][10:], reached)
    counts = np.bincount(goals[before == 4].astype(int), minlength=11)[5:]
    assert counts.sum() == 4000
    assert stats.chisquare(counts).pvalue > 0.001


def test_final_goals() -> None:
    columns = write_episode(Hindsight.from_env(Line(), "final", copies=1)).batches[0]
    assert columns["obs/desired_goal"][10:].ravel().tolist() == [10.0] * 10
    assert columns["reward"][10:].tolist() == [-1.0] * 9 + [0.0]


def test_episode_goals_may_lie_in_the_past() -> None:
    columns = write_episode(Hindsight.from_env(Line(), "episode", copies=2000, seed=2)).batches[0]
    goals = columns["obs/desired_goal"][10:].ravel()
    counts = np.bincount(goals.astype(int), minlength=11)[1:]
    assert stats.chisquare(counts).pvalue > 0.001
    assert (goals < columns["obs/observation"][10:].ravel()).any()


def test_equal_seeds_give_equal_rows() -> None:
    one, other = (write_episode(Hindsight.from_env(Line(), seed=5)).columns for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_functions_of_single_goals() -> None:
    def reward(achieved: np.ndarray, desired: np.ndarray, info: Any) -> float:
        assert achieved.shape == (1,)
        return 0.0 if abs(float(achieved[0] - desired[0])) < 0.5 else -1.0

    columns = write_episode(Hindsight(reward, "final", copies=1, batched=False)).batches[0]
    assert columns["reward"][10:].tolist() == [-1.0] * 9 + [0.0]
    with pytest.raises(InvalidValue, match="batched=False"):
        write_episode(Hindsight(lambda achieved, desired, info: 0.0))


def test_what_is_no_goal_environment_is_refused() -> None:
    with pytest.raises(InvalidType, match="compute_reward"):
        Hindsight.from_env(gymnasium.make("CartPole-v1"))
    with pytest.raises(InvalidValue, match="desired_goal"):
        Hindsight(Line().compute_reward)({"reward": np.zeros(3), "obs": np.zeros(3)})
    with pytest.raises(InvalidValue, match="strategy"):
        Hindsight(Line().compute_reward, "past")  # type: ignore[arg-type]
