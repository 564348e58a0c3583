"""DQN of Stable-Baselines3 on CartPole-v1: our buffers beside its own, with the same seeds and steps.

    python -m benchmarks.replay_sb3 [--quick] [--seeds N] [--steps N] [--part rewards|wall] [--json FILE]

Reward: for every seed the three buffers take turns. A run's reward is the mean return of the episodes
that ended in the last 40% of its steps (the greedy policy at the very end says little: DQN swings).
Compared are runs of the same seed: mean difference, its 95% interval (Student's t), and the one-sided p
that ours is worse.

Wall time: two trained models take turns in short stretches, theirs and ours; the ratio is the median
over pairs of (our time / their time). Everything runs on one thread of one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import torch
from scipy import stats
from stable_baselines3 import DQN

from benchmarks.bars import Report, options_of
from memories.replay.adaptors import sb3

SETTINGS: dict[str, Any] = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 50_000,
    "learning_starts": 500,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 64,
    "gradient_steps": 32,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [64, 64]},
    "device": "cpu",
}
KINDS = ("theirs", "ours", "prioritized")
LAST_PART = 0.4
WORSE_BY_CHANCE = 0.01  # a one-sided p below it is called worse
SLOWEST_RATIO = 1.05


@dataclass(frozen=True)
class RewardComparison:
    """Rewards of one kind of buffer against SB3's own, seed by seed."""

    kind: str
    rewards: tuple[float, ...]
    their_rewards: tuple[float, ...]

    @property
    def differences(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.subtract(self.rewards, self.their_rewards)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean difference."""
        centre, error = float(self.differences.mean()), float(stats.sem(self.differences))
        low, high = stats.t.interval(0.95, len(self.rewards) - 1, loc=centre, scale=max(error, 1e-12))
        return float(low), float(high)

    @property
    def p_worse(self) -> float:
        """How likely differences this low are if the buffers are equally good (one-sided, paired)."""
        if not self.differences.any():
            return 0.5
        return float(stats.ttest_1samp(self.differences, 0.0, alternative="less").pvalue)


def make_model(kind: str, seed: int, **settings: Any) -> DQN:
    """A model that differs from SB3's in its buffer only (and, prioritized, in what uses priorities)."""
    env = gymnasium.make("CartPole-v1")
    arguments: dict[str, Any] = {**SETTINGS, "seed": seed, **settings}
    if kind == "theirs":
        return DQN("MlpPolicy", env, **arguments)
    if kind == "ours":
        return DQN("MlpPolicy", env, replay_buffer_class=sb3.ReplayBuffer, **arguments)
    return sb3.PrioritizedDQN("MlpPolicy", env, **arguments)


def reward_of(kind: str, seed: int, steps: int) -> float:
    """Train, and return the mean return of the episodes that ended in the last part of the steps."""
    model = make_model(kind, seed).learn(steps)
    assert model.env is not None
    monitor = model.env.envs[0]  # type: ignore[attr-defined]
    ends = np.cumsum(monitor.get_episode_lengths())
    return float(np.mean(np.asarray(monitor.get_episode_rewards())[ends > (1 - LAST_PART) * steps]))


def compare_rewards(seeds: range, steps: int, say: Any = lambda line: None) -> list[RewardComparison]:
    """Train every kind with every seed, in turns."""
    rewards: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        for kind in KINDS:
            started = time.perf_counter()
            rewards[kind].append(reward_of(kind, seed, steps))
            say(f"seed {seed} {kind:12} {rewards[kind][-1]:6.1f}  {time.perf_counter() - started:5.1f} s")
    theirs = tuple(rewards["theirs"])
    return [RewardComparison(kind, tuple(rewards[kind]), theirs) for kind in KINDS[1:]]


def wall_ratios(kind: str, pairs: int, stretch: int = 128, seed: int = 0) -> list[float]:
    """Our time over theirs, in alternating short stretches of steps with training.

    Stretches of a twentieth of a second: whatever else the machine does then meets both alike.
    """
    settings = {"exploration_initial_eps": 0.04}
    models = [make_model(name, seed, **settings).learn(1024) for name in ("theirs", kind)]

    def stretch_s(model: DQN) -> float:
        started = time.perf_counter()
        model.learn(stretch, reset_num_timesteps=False)
        return time.perf_counter() - started

    ratios = []
    for pair in range(pairs):
        order = (0, 1) if pair % 2 else (1, 0)
        times = {which: stretch_s(models[which]) for which in order}
        ratios.append(times[1] / times[0])
    return ratios


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small lose by threads; and two contenders must not wait for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def report_rewards(report: Report, comparison: RewardComparison) -> None:
    """The bar: no evidence that ours is worse, and the interval of the difference beside it."""
    low, high = comparison.interval
    report.at_least(
        f"reward, {comparison.kind}: one-sided p that it is worse than SB3's own",
        WORSE_BY_CHANCE,
        comparison.p_worse,
        "",
        detail=(
            f"{np.mean(comparison.rewards):.1f} against {np.mean(comparison.their_rewards):.1f} over "
            f"{len(comparison.rewards)} seeds, difference {comparison.differences.mean():+.1f} "
            f"(95%: {low:+.1f} to {high:+.1f})"
        ),
    )


def main() -> int:
    parser = options_of(__doc__, "two seeds, few steps: shows that it works")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="to make a long run in parts")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--part", choices=("rewards", "wall", "both"), default="both")
    chosen = parser.parse_args()
    seeds, steps, pairs = (2, 4_000, 24) if chosen.quick else (chosen.seeds, chosen.steps, 240)
    report = Report("replay_sb3", judged=not chosen.quick)
    with one_thread():
        if chosen.part != "rewards":
            for kind in KINDS[1:]:
                ratios = wall_ratios(kind, pairs)
                spread = (min(ratios), max(ratios))
                name = f"wall time of training, {kind}: SB3's own"
                if kind == "ours":
                    report.at_most(name, SLOWEST_RATIO, median(ratios), "x", spread)
                else:  # it does more: priorities are asked for their reward
                    report.figure(name, median(ratios), "x", spread)
        if chosen.part != "wall":
            first = chosen.first_seed
            for comparison in compare_rewards(
                range(first, first + seeds), steps, say=lambda line: print(line, flush=True)
            ):
                report_rewards(report, comparison)
    return report.finish(chosen.json)


if __name__ == "__main__":
    sys.exit(main())
