"""Our buffers behind Stable-Baselines3 and CleanRL, compared with what SB3's own buffers give."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common import buffers as theirs
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from memories.errors import InvalidType, InvalidValue
from memories.replay import ImageStorage
from memories.replay.adaptors import cleanrl, sb3
from memories.replay.selector import Draw, Selector

BOX = spaces.Box(-1, 1, (3,), np.float32)
GOAL = spaces.Dict({"observation": BOX, "goal": spaces.Box(0, 255, (2, 2), np.uint8)})


def small() -> dict[str, Any]:
    """Settings of a small network; a new dict each time, because SB3 writes into it."""
    return {"policy_kwargs": {"net_arch": [16]}, "device": "cpu"}


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class AsTheirs(Selector):
    """Draws the rows that SB3's own buffer would draw, from the generator that it uses."""

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        stored = self.rows.slots.count
        slots = np.random.randint(0, stored, size=count)  # noqa: NPY002
        np.random.randint(0, high=1, size=count)  # noqa: NPY002 - SB3 draws the environment as well
        return Draw(slots, stored)


def fill(buffer: Any, steps: int, num_envs: int, observation_space: Any, action_space: Any) -> None:
    """The same random episodes for every buffer; rewards are unique, so that rows can be told."""
    rng = np.random.default_rng(7)

    def observe() -> Any:
        def one(space: Any) -> np.ndarray:
            return rng.integers(0, 100, (num_envs, *space.shape)).astype(space.dtype)

        if isinstance(observation_space, spaces.Dict):
            return {name: one(space) for name, space in observation_space.spaces.items()}
        return one(observation_space)

    obs = observe()
    for step in range(steps):
        after = observe()
        action = rng.integers(0, 2, (num_envs, *action_space.shape)).astype(action_space.dtype)
        done = rng.random(num_envs) < 0.2
        timeout = done & (rng.random(num_envs) < 0.5)
        infos = [{"TimeLimit.truncated": True} if flag else {} for flag in timeout]
        reward = np.arange(num_envs, dtype=np.float64) + 100 * step
        buffer.add(obs, after, action, reward, done, infos)
        obs = after


def by_reward(samples: Any) -> dict[float, tuple[Any, ...]]:
    """The sampled rows as plain values, by the reward that tells them apart."""

    def plain(value: Any) -> Any:
        return {k: v.tolist() for k, v in value.items()} if isinstance(value, dict) else value.tolist()

    def rows(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [{k: v[i] for k, v in value.items()} for i in range(len(next(iter(value.values()))))]
        return list(value)

    fields = [samples.observations, samples.actions, samples.next_observations, samples.dones]
    return {
        float(reward): tuple(map(plain, row))
        for reward, *row in zip(samples.rewards[:, 0], *map(rows, fields), strict=True)
    }


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        (BOX, spaces.Discrete(2)),
        (BOX, spaces.Box(-1, 1, (2,), np.float64)),
        (spaces.Discrete(100), spaces.MultiDiscrete([2, 2])),
        (spaces.MultiBinary(4), spaces.MultiBinary(3)),
        (GOAL, spaces.Discrete(2)),
    ],
)
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("timeouts", [True, False])
def test_rows_dtypes_and_shapes_are_those_of_sb3(
    observation_space: Any, action_space: Any, num_envs: int, timeouts: bool
) -> None:
    their_class = (
        theirs.DictReplayBuffer if isinstance(observation_space, spaces.Dict) else theirs.ReplayBuffer
    )
    arguments = (20 * num_envs, observation_space, action_space)
    options = {"device": "cpu", "n_envs": num_envs, "handle_timeout_termination": timeouts}
    own, ours = their_class(*arguments, **options), sb3.ReplayBuffer(*arguments, **options)
    for buffer in (own, ours):
        fill(buffer, 33, num_envs, observation_space, action_space)  # the ring has wrapped
    assert (ours.pos, ours.full, ours.size()) == (own.pos, own.full, own.size())
    expected, got = own.sample(1500), ours.sample(1500)
    assert by_reward(got) == by_reward(expected)
    for name in ("actions", "dones", "rewards"):
        assert getattr(got, name).dtype == getattr(expected, name).dtype
        assert getattr(got, name).shape == getattr(expected, name).shape
    first = lambda obs: next(iter(obs.values())) if isinstance(obs, dict) else obs  # noqa: E731
    assert first(got.observations).dtype == first(expected.observations).dtype


def test_n_step_targets_are_those_of_sb3() -> None:
    arguments, options = (60, BOX, spaces.Discrete(2)), {"device": "cpu", "n_steps": 3, "gamma": 0.9}
    own, ours = theirs.NStepReplayBuffer(*arguments, **options), sb3.ReplayBuffer(*arguments, **options)
    for buffer in (own, ours):
        fill(buffer, 50, 1, BOX, spaces.Discrete(2))

    def targets(samples: Any) -> dict[tuple[float, ...], float]:
        value = samples.next_observations.sum(dim=1, keepdim=True)
        target = samples.rewards + (1 - samples.dones) * samples.discounts * value
        return {
            tuple(o): t for o, t in zip(samples.observations.tolist(), target[:, 0].tolist(), strict=True)
        }

    expected, got = targets(own.sample(2000)), targets(ours.sample(2000))
    assert len(got) >= 48  # the last steps of a running episode are still open here
    assert got == {key: pytest.approx(expected[key], rel=1e-5) for key in got}


def test_observations_and_rewards_are_normalised_by_the_environment() -> None:
    env = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])
    env = VecNormalize(env, clip_obs=1e9, clip_reward=1e9)  # so that rewards still tell rows apart
    env.reset()
    for _ in range(20):
        env.step(np.zeros((1, 1), np.float32))
    arguments = (50, env.observation_space, env.action_space, "cpu")
    own, ours = theirs.ReplayBuffer(*arguments), sb3.ReplayBuffer(*arguments)
    for buffer in (own, ours):
        fill(buffer, 30, 1, env.observation_space, env.action_space)
    got, expected = by_reward(ours.sample(900, env)), by_reward(own.sample(900, env))
    assert got == expected
    assert 2900.0 not in got


def test_training_is_the_same_to_the_last_bit_when_the_same_rows_are_drawn() -> None:
    def train(options: dict[str, Any]) -> Any:
        model = DQN(
            "MlpPolicy",
            gymnasium.make("CartPole-v1"),
            seed=4,
            buffer_size=400,
            learning_starts=100,
            train_freq=4,
            batch_size=16,
            **small(),
            **options,
        ).learn(500)
        return model.policy.state_dict(), [episode["r"] for episode in model.ep_info_buffer]

    weights, returns = train({})
    sampler = {"sampler": AsTheirs(), "seed": 0}
    our_weights, our_returns = train(
        {"replay_buffer_class": sb3.ReplayBuffer, "replay_buffer_kwargs": sampler}
    )
    assert our_returns == returns
    for name, value in weights.items():
        assert torch.equal(value, our_weights[name]), name


def test_equal_seeds_give_equal_training() -> None:
    def train() -> Any:
        model = sb3.PrioritizedDQN(
            "MlpPolicy", gymnasium.make("CartPole-v1"), seed=3, learning_starts=50, batch_size=8, **small()
        )
        return model.learn(200).policy.state_dict()

    one, other = train(), train()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("algorithm", "env_id", "options"),
    [
        (DQN, "CartPole-v1", {"replay_buffer_class": sb3.ReplayBuffer}),
        (SAC, "Pendulum-v1", {"replay_buffer_class": sb3.ReplayBuffer}),
        (sb3.PrioritizedDQN, "CartPole-v1", {}),
        (sb3.PrioritizedSAC, "Pendulum-v1", {}),
        (sb3.PrioritizedSAC, "Pendulum-v1", {"use_sde": True, "ent_coef": 0.1}),
        (sb3.PrioritizedSAC, "Pendulum-v1", {"replay_buffer_kwargs": {"n_steps": 3, "gamma": 0.99}}),
    ],
)
def test_algorithms_train(algorithm: Any, env_id: str, options: Any) -> None:
    env = DummyVecEnv([lambda: gymnasium.make(env_id)] * 2)
    model = algorithm("MlpPolicy", env, seed=0, learning_starts=20, batch_size=16, **small(), **options)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(60)
    changed = [
        name for name, value in model.policy.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert changed
    assert all(torch.isfinite(value).all() for value in model.policy.state_dict().values())
    if isinstance(model.replay_buffer, sb3.PrioritizedReplayBuffer):
        probabilities = model.replay_buffer.rows.sample(64).probabilities
        assert len(set(probabilities.tolist())) > 1  # TD errors came back


def test_priorities_that_nobody_sets_are_noticed_once(caplog: pytest.LogCaptureFixture) -> None:
    buffer = sb3.PrioritizedReplayBuffer(50, BOX, spaces.Discrete(2), "cpu")
    fill(buffer, 30, 1, BOX, spaces.Discrete(2))
    with caplog.at_level(logging.WARNING):
        for _ in range(250):
            buffer.sample(4)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "PrioritizedDQN" in caplog.text


def test_a_prioritized_algorithm_refuses_a_buffer_without_priorities() -> None:
    model = sb3.PrioritizedDQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        replay_buffer_class=sb3.ReplayBuffer,
        learning_starts=5,
        device="cpu",
    )
    with pytest.raises(InvalidType, match="priorities"):
        model.learn(20)


def test_optimize_memory_usage_keeps_frames_once_and_allows_a_second_learn() -> None:
    space = spaces.Box(0, 255, (4, 36, 36), np.uint8)
    ours = sb3.ReplayBuffer(64, space, spaces.Discrete(2), "cpu", optimize_memory_usage=True)
    fill(ours, 40, 1, space, spaces.Discrete(2))
    own = theirs.ReplayBuffer(64, space, spaces.Discrete(2), "cpu")
    fill(own, 40, 1, space, spaces.Discrete(2))
    assert by_reward(ours.sample(600)) == by_reward(own.sample(600))
    model = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        replay_buffer_class=sb3.ReplayBuffer,
        replay_buffer_kwargs={"images": ImageStorage(stack_axis=None)},
        optimize_memory_usage=True,
        learning_starts=20,
        device="cpu",
    )
    with pytest.warns(UserWarning, match="last trajectory"):
        model.learn(50).learn(50)


def test_reset_forgets_rows_and_open_windows() -> None:
    ours = sb3.ReplayBuffer(50, BOX, spaces.Discrete(2), "cpu", n_steps=5)
    fill(ours, 30, 1, BOX, spaces.Discrete(2))
    ours.reset()
    assert (len(ours.rows), ours.size()) == (0, 0)
    fill(ours, 30, 1, BOX, spaces.Discrete(2))
    assert float(ours.sample(500).rewards.min()) >= 0


@pytest.mark.parametrize("algorithm", [DQN, sb3.PrioritizedDQN])
def test_a_saved_replay_buffer_goes_on_as_it_was(algorithm: Any, tmp_path: Any) -> None:
    def make() -> Any:
        options = {} if algorithm is not DQN else {"replay_buffer_class": sb3.ReplayBuffer}
        env = gymnasium.make("CartPole-v1")
        return algorithm("MlpPolicy", env, buffer_size=300, learning_starts=20, seed=0, **small(), **options)

    model, other = make().learn(100), make()
    model.save_replay_buffer(tmp_path / "replay.pkl")
    other.load_replay_buffer(tmp_path / "replay.pkl")
    assert other.replay_buffer.size() == model.replay_buffer.size() == 100
    for _ in range(3):
        one, two = model.replay_buffer.sample(16), other.replay_buffer.sample(16)
        assert torch.equal(one.observations, two.observations)
        assert torch.equal(one.rewards, two.rewards)
        if one.weights is not None:
            assert torch.equal(one.weights, two.weights)
            other.replay_buffer.update_priorities(two.handles, torch.ones(16))
            model.replay_buffer.update_priorities(one.handles, torch.ones(16))
    other.learn(50, reset_num_timesteps=False)
    unsaved = sb3.ReplayBuffer(10, BOX, spaces.Discrete(2), sampler=AsTheirs())
    with pytest.raises(InvalidType, match="checkpoint"):
        pickle.dumps(unsaved)


def test_cleanrl_loop() -> None:
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make("CartPole-v1")] * 2,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    rb = cleanrl.PrioritizedReplayBuffer(
        1000,
        envs.single_observation_space,
        envs.single_action_space,
        torch.device("cpu"),
        n_envs=2,
        handle_timeout_termination=False,
        seed=0,
    )
    obs, _ = envs.reset(seed=0)
    for _ in range(100):
        actions = envs.action_space.sample()
        next_obs, rewards, terminations, truncations, infos = envs.step(actions)
        real_next_obs = next_obs.copy()
        for i, ended in enumerate(terminations | truncations):
            if ended:
                real_next_obs[i] = infos["final_obs"][i]
        rb.add(obs, real_next_obs, actions, rewards, terminations, infos)
        obs = next_obs
    data = rb.sample(32)
    assert data.observations.shape == (32, 4)
    assert data.actions.shape == data.rewards.shape == data.dones.shape == data.weights.shape == (32, 1)
    assert data.actions.dtype == torch.int64
    assert data.discounts is None
    assert rb.update_priorities(data.handles, torch.ones(32, 1)).applied == 32
    assert rb.size() == 200


def test_misfits_are_explained() -> None:
    with pytest.raises(InvalidType, match="Text"):
        cleanrl.ReplayBuffer(10, spaces.Text(3), spaces.Discrete(2))
    buffer = cleanrl.ReplayBuffer(10, BOX, spaces.Discrete(2), n_envs=2)
    with pytest.raises(InvalidValue, match="2 environments"):
        buffer.add(np.zeros((1, 3)), np.zeros((2, 3)), np.zeros(2), np.zeros(2), np.zeros(2), None)
    assert buffer.size() == 0
