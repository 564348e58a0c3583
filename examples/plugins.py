"""Plugins hear what happens to a replay buffer, and cannot break it.

python examples/plugins.py
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from typing import Any

from memories.replay import ExperienceReplay, MemoryPlugin, PluginManager


class ActionCounter(MemoryPlugin):
    """Counts which actions are stored, and which the learner gets to see."""

    def __init__(self) -> None:
        self.stored: Counter[int] = Counter()
        self.sampled: Counter[int] = Counter()

    def on_experience_stored(self, experience: Any) -> None:
        self.stored[experience.action] += 1

    def on_sample(self, batch: Any) -> None:
        self.sampled.update(experience.action for experience in batch)


class RewardAlarm(MemoryPlugin):
    """Raises on purpose: the manager logs it, and everything goes on."""

    def on_experience_stored(self, experience: Any) -> None:
        if experience.reward > 9:
            raise ValueError(f"a reward of {experience.reward} is too good to be true")


def main(steps: int) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    plugins, counter = PluginManager(), ActionCounter()
    plugins.register_plugin(counter)
    plugins.register_plugin(RewardAlarm())

    replay = ExperienceReplay(capacity=1000, plugin_manager=plugins, seed=0)
    for step in range(steps):
        reward = 10.0 if step == 7 else 0.0
        replay.store([float(step)], step % 3, reward, [step + 1.0], step % 20 == 19)
    for _ in range(20):
        replay.sample(16)

    print("stored: ", dict(sorted(counter.stored.items())))
    print("sampled:", dict(sorted(counter.sampled.items())))
    print(f"{len(replay)} experiences in the buffer, although one plugin failed on the way")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="a hundred steps")
    chosen = parser.parse_args()
    main(100 if chosen.quick else chosen.steps)
