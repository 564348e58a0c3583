"""Stable-Baselines3 with our replay buffers: DQN on CartPole, uniform and prioritized.

    python examples/replay_sb3.py            # about two minutes
    python examples/replay_sb3.py --quick    # a few seconds: shows that it runs, learns little

The only change to an SB3 script is ``replay_buffer_class``. SB3's DQN reports no TD errors, so
prioritized replay comes with a DQN that does.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy

from memories.replay.adaptors import sb3

SETTINGS: dict[str, Any] = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 50_000,
    "learning_starts": 500,
    "target_update_interval": 10,
    "train_freq": 64,
    "gradient_steps": 32,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [64, 64]},
    "device": "cpu",
}


def main(steps: int, seed: int) -> None:
    torch.set_num_threads(1)  # a network this small only loses by threads
    models = {
        "uniform": DQN(
            "MlpPolicy",
            gymnasium.make("CartPole-v1"),
            replay_buffer_class=sb3.ReplayBuffer,
            # n-step returns: the rows are 3-step transitions, cut at the end of each episode.
            replay_buffer_kwargs={"n_steps": 3, "gamma": 0.99},
            seed=seed,
            **SETTINGS,
        ),
        "prioritized": sb3.PrioritizedDQN(
            "MlpPolicy",
            gymnasium.make("CartPole-v1"),
            replay_buffer_kwargs={"alpha": 0.6, "beta": 0.4},
            seed=seed,
            **SETTINGS,
        ),
    }
    for name, model in models.items():
        started = time.perf_counter()
        model.learn(steps)
        mean, deviation = evaluate_policy(model, gymnasium.make("CartPole-v1"), n_eval_episodes=5, warn=False)
        print(
            f"{name:12} {steps} steps in {time.perf_counter() - started:.1f} s, "
            f"{model.replay_buffer.size()} transitions stored, return {mean:.0f} +- {deviation:.0f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two thousand steps")
    chosen = parser.parse_args()
    main(2_000 if chosen.quick else chosen.steps, chosen.seed)
