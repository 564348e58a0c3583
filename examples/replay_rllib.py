"""RLlib's DQN (new API stack) with its replay buffer on the shards of a cluster.

    python examples/replay_rllib.py            # some minutes
    python examples/replay_rllib.py --quick    # two iterations: shows that it runs, learns little

Needs `pip install "memories[rllib]"`. The rows live in actors with backups: the algorithm can be killed and
started again, or several algorithms can share one buffer by its name.
"""

from __future__ import annotations

import argparse

from ray.rllib.algorithms.dqn import DQNConfig

import memories
from memories.actors.replay.rllib import ClusterEpisodeReplayBuffer

NAME = "rllib-example"
KIND = f"{ClusterEpisodeReplayBuffer.__module__}.{ClusterEpisodeReplayBuffer.__name__}"


def main(iterations: int) -> None:
    with memories.connect(name=NAME) as cluster:
        config = (
            DQNConfig()
            .environment("CartPole-v1")
            .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
            .training(
                n_step=3,
                gamma=0.99,
                num_steps_sampled_before_learning_starts=200,
                replay_buffer_config={
                    "type": KIND,  # RLlib takes it as a string
                    "name": "cartpole",
                    "cluster": NAME,
                    "capacity": 50_000,
                    "shards": 2,
                    "alpha": 0.6,
                    "beta": 0.4,
                    "n_step": 3,
                    "gamma": 0.99,
                },
            )
            .reporting(min_sample_timesteps_per_iteration=500, min_time_s_per_iteration=0)
        )
        algorithm = config.build_algo()
        for number in range(iterations):
            runners = algorithm.train()["env_runners"]
            mean = runners.get("episode_return_mean", float("nan"))
            print(f"iteration {number + 1}: mean return {mean:.0f}")
        stats = cluster.replay("cartpole").stats()
        print(f"{stats.inserted} transitions in {len(stats.shards)} shards, {stats.sampled} sampled")
        algorithm.local_replay_buffer.close()
        algorithm.stop()
        cluster.shutdown(delete=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="two iterations")
    chosen = parser.parse_args()
    main(2 if chosen.quick else chosen.iterations)
