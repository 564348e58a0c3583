"""RLlib's DQN and SAC on our shards, in real short runs."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer

from memories.actors.cluster import Cluster
from memories.actors.replay.rllib import ClusterEpisodeReplayBuffer, replay_on_cluster
from memories.errors import InvalidValue


def episode(steps: int, *, terminated: bool, seed: int) -> SingleAgentEpisode:
    env = gymnasium.make("CartPole-v1")
    rng = np.random.default_rng(seed)
    made = SingleAgentEpisode(observation_space=env.observation_space, action_space=env.action_space)
    made.add_env_reset(rng.random(4, np.float32))
    for t in range(steps):
        last = t == steps - 1
        made.add_env_step(
            rng.random(4, np.float32), int(rng.integers(2)), float(t + 1), terminated=last and terminated
        )
    return made.to_numpy()


def buffer_of(cluster: Cluster, name: str, **options: Any) -> ClusterEpisodeReplayBuffer:
    settings = {"capacity": 1_000, "shards": 2, "n_step": 3, "gamma": 0.9, "beta": 0.4, "seed": 0}
    return ClusterEpisodeReplayBuffer(name=name, cluster=cluster.name, **{**settings, **options})


def facts(sampled: list[SingleAgentEpisode]) -> dict[tuple[float, ...], tuple[Any, ...]]:
    """What each transition says, by its first observation."""
    found = {}
    for one in sampled:
        obs = one.get_observations()
        found[tuple(obs[0].tolist())] = (
            tuple(obs[1].tolist()),
            int(one.get_actions(0)),
            round(float(one.get_rewards(0)), 4),
            one.is_terminated,
            one.is_truncated,
            int(one.get_extra_model_outputs("n_step", 0)),
            one.t_started,
            len(one),
        )
    return found


def test_transitions_are_those_of_rllibs_own_buffer(cluster: Cluster) -> None:
    episodes = [episode(12, terminated=True, seed=0), episode(9, terminated=False, seed=1)]
    theirs = PrioritizedEpisodeReplayBuffer(capacity=1_000, alpha=0.6)
    ours = buffer_of(cluster, "same")
    for buffer in (theirs, ours):
        buffer.add(episodes)
    expected = facts(theirs.sample(num_items=600, n_step=3, gamma=0.9, beta=0.4))
    sampled = ours.sample(num_items=600, n_step=3, gamma=0.9, beta=0.4)
    found = facts(sampled)
    # Theirs leaves out the last two steps of an episode; ours has them, with fewer steps each.
    extra = {key: value for key, value in found.items() if key not in expected}
    assert {key: found[key] for key in expected} == expected
    assert sorted(value[5] for value in extra.values()) == [1, 2]
    assert all(value[3] for value in extra.values()), "only the terminated episode is complete"
    weights = [float(one.get_extra_model_outputs("weights", 0)) for one in sampled]
    assert weights == pytest.approx([1.0] * len(weights)), "equal priorities weigh the same"
    ours.close()


def test_td_errors_become_the_priorities_of_the_rows_that_were_sampled(cluster: Cluster) -> None:
    buffer = buffer_of(cluster, "errors", alpha=1.0, prefetch=1)
    buffer.add([episode(200, terminated=True, seed=2)])
    for _ in range(40):
        sampled = buffer.sample(num_items=64)
        errors = np.array([1e6 if one.t_started < 10 else 1e-3 for one in sampled])
        buffer.update_priorities(errors)
    late = [one.t_started for one in buffer.sample(num_items=512)]
    assert np.mean(np.array(late) < 10) > 0.9
    buffer.sample(num_items=4)
    with pytest.raises(InvalidValue, match="sampled last"):
        buffer.update_priorities(np.ones(3))
    with pytest.raises(InvalidValue, match="n_step"):
        buffer.sample(num_items=4, n_step=1)
    with pytest.raises(InvalidValue, match="gamma"):
        buffer.sample(num_items=4, n_step=3, gamma=0.99)
    buffer.close()


@pytest.mark.parametrize(
    ("config", "env", "n_step"), [(DQNConfig, "CartPole-v1", 3), (SACConfig, "Pendulum-v1", 1)]
)
def test_an_algorithm_trains_on_it(cluster: Cluster, config: Any, env: str, n_step: int) -> None:
    name = f"{config.__name__.lower()}-run"
    options = {"name": name, "cluster": cluster.name, "capacity": 10_000, "shards": 2, "alpha": 0.6}
    options |= {"n_step": n_step, "gamma": 0.99}
    settings = (
        config()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=8)
        .training(
            n_step=n_step,
            gamma=0.99,
            train_batch_size_per_learner=32,
            num_steps_sampled_before_learning_starts=100,
        )
        .reporting(min_sample_timesteps_per_iteration=300, min_time_s_per_iteration=0)
    )
    if config is DQNConfig:
        kind = f"{ClusterEpisodeReplayBuffer.__module__}.{ClusterEpisodeReplayBuffer.__name__}"
        settings.training(replay_buffer_config={"type": kind, "beta": 0.4, **options})
    else:
        own = {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 1, "beta": 0.4}
        settings.training(replay_buffer_config=own)
        settings.callbacks(on_algorithm_init=replay_on_cluster(**options))
    algorithm = settings.build_algo()
    assert isinstance(algorithm.local_replay_buffer, ClusterEpisodeReplayBuffer)
    try:
        for _ in range(2):
            result = algorithm.train()
        learner = result["learners"]["default_policy"]
        steps = result["env_runners"]["num_env_steps_sampled_lifetime"]
        # A batch for every 16 steps once 100 are there; steps that begin an episode anew are not counted.
        batches = (steps - 100) // 16
        assert steps >= 600
        assert learner["num_module_steps_trained_lifetime"] >= 32 * (batches - 1)
        assert np.isfinite(learner["total_loss"])
        replay = cluster.replay(name)
        stats = replay.stats()
        # Two environments have up to n_step - 1 steps each that wait for their windows.
        assert steps - 2 * (n_step - 1) <= stats.inserted <= steps
        assert all(shard.rows > 0 for shard in stats.shards)
        drawn = replay.sample(4_096)  # so many that they are more than the few likeliest rows
        assert len(np.unique(drawn.probabilities.round(9))) > 20, "TD errors came back as priorities"
    finally:
        algorithm.local_replay_buffer.close()
        algorithm.stop()
