from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from memories.errors import InvalidType, InvalidValue
from memories.replay.adaptors.vector_env import VectorRecorder
from memories.replay.writers import EpisodeWriter, NStepWriter

from .sinks import ListSink


class Clock(gymnasium.Env[Any, int]):
    """Episode k of environment e lasts a few steps; the observation says which, and how far it is."""

    action_space = spaces.Discrete(3)

    def __init__(self, number: int, nested: bool = False) -> None:
        self.number, self.nested, self.episode = number, nested, -1
        place = spaces.Box(-1, 1e6, (3,), np.float64)
        self.observation_space = spaces.Dict({"place": place, "pair": place}) if nested else place

    def observe(self) -> Any:
        place = np.asarray([self.number, self.episode, self.time], np.float64)
        return {"place": place, "pair": place + 1} if self.nested else place

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        over = self.time == 2 + (self.number + self.episode) % 3
        terminated = over and self.episode % 2 == 0
        return self.observe(), float(self.time), terminated, over and not terminated, {}


def assert_true_history(sink: ListSink, num_envs: int) -> None:
    """Every row is a step of an episode, complete and in order, with its own next observation."""
    columns = sink.columns
    obs, after = columns["obs"], columns["next_obs"]
    np.testing.assert_array_equal(after[:, :2], obs[:, :2])  # the same environment, the same episode
    np.testing.assert_array_equal(after[:, 2], obs[:, 2] + 1)
    np.testing.assert_array_equal(columns["reward"], after[:, 2])
    for env in range(num_envs):
        mine = obs[obs[:, 0] == env]
        expected = [(k, t) for k in range(100) for t in range(2 + (env + k) % 3)][: len(mine)]
        assert [tuple(row) for row in mine[:, 1:].astype(int)] == expected
    lengths = 2 + (obs[:, 0] + obs[:, 1]) % 3
    over = after[:, 2] == lengths
    np.testing.assert_array_equal(columns["terminated"], over & (obs[:, 1] % 2 == 0))
    np.testing.assert_array_equal(columns["truncated"], over & (obs[:, 1] % 2 == 1))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("copy", [True, False])
def test_every_autoreset_mode_gives_the_true_history(mode: AutoresetMode, copy: bool) -> None:
    envs = SyncVectorEnv([lambda n=n: Clock(n) for n in range(3)], autoreset_mode=mode, copy=copy)
    sink = ListSink()
    writer = NStepWriter(sink, n=1, num_envs=3)
    recorder = VectorRecorder(envs, writer)
    recorder.reset(seed=0)
    for _ in range(40):
        _, _, terminated, truncated, _ = recorder.step(np.zeros(3, np.int64))
        ended = terminated | truncated
        if mode is AutoresetMode.DISABLED and ended.any():
            recorder.reset(options={"reset_mask": ended.copy()})
    writer.flush()
    assert len(sink.rows()) >= 3 * 40 * 2 / 3
    assert_true_history(sink, 3)


def test_nested_observations_in_the_same_step_mode() -> None:
    envs = SyncVectorEnv(
        [lambda n=n: Clock(n, nested=True) for n in range(2)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    sink = ListSink()
    writer = NStepWriter(sink, n=1, num_envs=2)
    recorder = VectorRecorder(envs, writer)
    recorder.reset()
    for _ in range(20):
        recorder.step(np.zeros(2, np.int64))
    writer.flush()
    columns = sink.columns
    for name in ("place", "pair"):
        np.testing.assert_array_equal(columns[f"next_obs/{name}"][:, :2], columns[f"obs/{name}"][:, :2])


def test_a_reset_in_the_middle_cuts_the_episodes() -> None:
    envs = SyncVectorEnv([lambda: Clock(1), lambda: Clock(2)])
    for writer_class in (NStepWriter, EpisodeWriter):
        sink = ListSink()
        recorder = VectorRecorder(envs, writer_class(sink, num_envs=2))
        recorder.reset()
        recorder.step(np.zeros(2, np.int64))
        recorder.reset()
        recorder.step(np.zeros(2, np.int64))
        recorder.writer.close()  # type: ignore[attr-defined]
        assert sink.columns["truncated"].tolist() == [True] * 4
        np.testing.assert_array_equal(sink.columns["next_obs"][:, :2], sink.columns["obs"][:, :2])


def test_n_steps_do_not_reach_over_resets() -> None:
    envs = SyncVectorEnv([lambda n=n: Clock(n) for n in range(3)])
    sink = ListSink()
    recorder = VectorRecorder(envs, NStepWriter(sink, n=3, gamma=1.0, num_envs=3))
    recorder.reset()
    for _ in range(50):
        recorder.step(np.zeros(3, np.int64))
    obs, after = sink.columns["obs"], sink.columns["next_obs"]
    np.testing.assert_array_equal(obs[:, :2], after[:, :2])
    steps = after[:, 2] - obs[:, 2]
    lengths = 2 + (obs[:, 0] + obs[:, 1]) % 3
    np.testing.assert_array_equal(steps, np.minimum(3, lengths - obs[:, 2]))


def test_misuse_is_explained() -> None:
    envs = SyncVectorEnv([lambda: Clock(0)])
    with pytest.raises(InvalidType, match="reset"):
        VectorRecorder(envs, NStepWriter(ListSink())).step(np.zeros(1, np.int64))
    with pytest.raises(InvalidValue, match="autoreset_mode"):
        VectorRecorder(gymnasium.make("CartPole-v1"), NStepWriter(ListSink()))
