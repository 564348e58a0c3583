"""N-step windows of the adaptors end where episodes end, however that is told."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN

from memories.replay.adaptors import cleanrl, sb3

PLACE = spaces.Box(-1e9, 1e9, (2,), np.float32)


class Walk(gymnasium.Env[Any, int]):
    """Observes its episode and its time; truncated after ``limit`` steps. Rewards tell episodes apart."""

    observation_space = PLACE
    action_space = spaces.Discrete(2)

    def __init__(self, limit: int | None = None, number: int = 0) -> None:
        self.limit, self.number, self.episode = limit, number, -1

    def observe(self) -> np.ndarray:
        return np.asarray([1000 * self.number + self.episode, self.time], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self.observe(), 10.0**self.episode, False, self.time == self.limit, {}


def stored(rows: Any) -> dict[str, Any]:
    batch, _ = rows.buffer.read(rows.buffer.handles())
    return dict(batch.nested())


def assert_windows(columns: Any, limit: int, n: int, gamma: float) -> None:
    """Every window lies in one episode, and is short only before the end, where it bootstraps."""
    obs, after = columns["obs"], columns["next_obs"]
    np.testing.assert_array_equal(obs[:, 0], after[:, 0])
    steps = np.minimum(n, limit - obs[:, 1])
    np.testing.assert_array_equal(after[:, 1] - obs[:, 1], steps)
    np.testing.assert_allclose(columns["discount"], gamma**steps, rtol=1e-6)
    assert not columns["terminated"].any()


@pytest.mark.parametrize("with_infos", [True, False])
@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_truncation_that_the_cleanrl_loop_does_not_name_ends_windows(
    num_envs: int, with_infos: bool
) -> None:
    envs = SyncVectorEnv(
        [lambda k=k: Walk(limit=5, number=k) for k in range(num_envs)],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    rb = cleanrl.ReplayBuffer(
        1000,
        PLACE,
        Walk.action_space,
        n_envs=num_envs,
        handle_timeout_termination=False,
        n_steps=3,
        gamma=0.5,
    )
    obs, _ = envs.reset(seed=0)
    for _ in range(20):
        actions = np.zeros(num_envs, np.int64)
        next_obs, rewards, terminations, truncations, infos = envs.step(actions)
        real_next_obs = next_obs.copy()
        for i in np.flatnonzero(truncations):
            real_next_obs[i] = infos["final_obs"][i]
        rb.add(obs, real_next_obs, actions, rewards, terminations, infos if with_infos else {})
        obs = next_obs
    # Where infos tell of the end it is known with the last step itself, and else with the step after it.
    assert rb.size() == num_envs * (20 if with_infos else 17)
    rb.rows.cut()
    assert rb.size() == num_envs * 20
    assert_windows(stored(rb.rows), limit=5, n=3, gamma=0.5)


def test_an_end_in_the_infos_is_seen_where_the_next_episode_begins_where_this_one_ended() -> None:
    space = spaces.Discrete(3)
    rb = cleanrl.ReplayBuffer(
        50, space, spaces.Discrete(2), handle_timeout_termination=False, n_steps=2, gamma=0.5
    )
    no, yes = np.asarray([False]), np.asarray([True])
    for obs, after, final in ((0, 1, no), (1, 0, yes), (0, 2, no), (2, 0, no)):
        infos = {"_final_obs": final, "final_obs": [np.int64(after)]}
        rb.add(np.asarray([obs]), np.asarray([after]), np.zeros(1, int), np.ones(1), no, infos)
    assert stored(rb.rows)["discount"].tolist() == [0.25, 0.5]


def test_a_terminated_step_with_a_final_observation_stays_terminated() -> None:
    rb = cleanrl.ReplayBuffer(50, PLACE, spaces.Discrete(2), handle_timeout_termination=False, n_steps=2)
    step = np.zeros((1, 2), np.float32)
    yes = np.asarray([True])
    rb.add(step, step, np.zeros(1, int), np.ones(1), yes, {"_final_obs": yes})
    columns = stored(rb.rows)
    assert columns["terminated"].tolist() == [True]
    assert columns["truncated"].tolist() == [False]
    assert columns["discount"].tolist() == [0.0]


def test_nan_in_observations_does_not_end_episodes() -> None:
    rb = cleanrl.ReplayBuffer(50, PLACE, spaces.Discrete(2), n_steps=3, gamma=1.0)
    walk = np.full((7, 1, 2), np.nan, np.float32)
    walk[:, 0, 1] = np.arange(7)
    for t in range(6):
        rb.add(walk[t], walk[t + 1], np.zeros(1, int), np.ones(1), np.zeros(1), [{}])
    assert stored(rb.rows)["reward"].tolist() == [3.0] * 3  # the newest rows wait for one step more
    rb.rows.cut()
    assert stored(rb.rows)["reward"].tolist() == [3.0] * 4 + [2.0, 1.0]


def test_one_part_of_a_dict_that_jumps_ends_the_episode() -> None:
    space = spaces.Dict({"still": PLACE, "goal": PLACE})
    rb = cleanrl.ReplayBuffer(50, space, spaces.Discrete(2), n_envs=2, n_steps=3, gamma=1.0)
    still = np.zeros((2, 2), np.float32)
    for goals in ([1, 1], [1, 1], [1, 2], [1, 2]):
        obs = {"still": still, "goal": np.asarray([[g, g] for g in goals], np.float32)}
        rb.add(obs, obs, np.zeros(2, int), np.ones(2), np.zeros(2), [{}, {}])
    rb.rows.cut()
    columns = stored(rb.rows)
    goal, reward = columns["obs"]["goal"][:, 0], columns["reward"]
    np.testing.assert_array_equal(columns["next_obs"]["goal"][:, 0], goal)
    assert sorted(reward.tolist()) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0]
    assert reward[goal == 2].tolist() == [2.0, 1.0]


@pytest.mark.filterwarnings("ignore:The last trajectory")
@pytest.mark.parametrize("optimize", [False, True])
def test_a_second_learn_ends_the_windows_of_the_first(optimize: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = DQN(
            "MlpPolicy",
            Walk(),
            replay_buffer_class=sb3.ReplayBuffer,
            replay_buffer_kwargs={"n_steps": 3, "gamma": 0.5},
            optimize_memory_usage=optimize,
            learning_starts=1000,
            policy_kwargs={"net_arch": [4]},
            device="cpu",
        )
        model.learn(12).learn(12)
    finally:
        torch.set_num_threads(before)
    columns = stored(model.replay_buffer.rows)  # type: ignore[union-attr]
    first = columns["obs"][:, 0] == columns["obs"][0, 0]
    assert_windows({name: column[first] for name, column in columns.items()}, limit=12, n=3, gamma=0.5)
    assert columns["reward"][first].tolist()[-2:] == [1.5, 1.0]


def test_sb3_ends_windows_by_its_array_of_dones_even_where_observations_go_on() -> None:
    buffer = sb3.ReplayBuffer(50, PLACE, spaces.Discrete(2), "cpu", n_steps=3, gamma=0.5)
    same = np.zeros((1, 2), np.float32)

    def steps(count: int) -> None:
        for _ in range(count):
            buffer.add(same, same, np.zeros(1, int), np.ones(1), np.zeros(1), [{}])

    steps(4)
    buffer.dones[buffer.pos - 1] = True
    steps(3)
    assert stored(buffer.rows)["discount"].tolist() == [0.125, 0.125, 0.25, 0.5]
