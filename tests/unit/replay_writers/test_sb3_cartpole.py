"""DQN on CartPole-v1: our buffers learn as well as SB3's own, in the same time."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
import pytest

from benchmarks.replay_sb3 import (
    SLOWEST_RATIO,
    WORSE_BY_CHANCE,
    compare_rewards,
    one_thread,
    wall_ratios,
)

pytestmark = pytest.mark.slow

RANDOM_RETURN = 22.0  # of a policy that has learned nothing


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


def test_rewards_are_not_worse_with_the_same_seeds_and_steps() -> None:
    """Three seeds notice only a gross difference; that the rows and the training are the same to the
    last bit is shown in test_adaptors, and `benchmarks.replay_sb3` compares ten seeds.
    """
    for comparison in compare_rewards(range(3), steps=7_000):
        assert comparison.p_worse > WORSE_BY_CHANCE, comparison
        assert np.mean(comparison.rewards) > 2 * RANDOM_RETURN, comparison


@pytest.mark.alone
def test_our_buffer_is_not_slower_in_wall_time() -> None:
    assert median(wall_ratios("ours", pairs=64)) <= SLOWEST_RATIO
