"""Dict observations come back under the keys of their space, whatever these are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from memories.replay.adaptors import cleanrl, sb3


@pytest.mark.parametrize("module", [cleanrl, sb3])
@pytest.mark.parametrize("n_steps", [1, 2])
@pytest.mark.parametrize("keys", [("0", "1"), ("cam/left", "pos"), ("cam/left", "cam/right", "0")])
def test_numbers_and_slashes_in_keys(module: Any, n_steps: int, keys: tuple[str, ...]) -> None:
    space = spaces.Dict({key: spaces.Box(-100, 100, (2,), np.float32) for key in keys})
    buffer = module.ReplayBuffer(20, space, spaces.Discrete(2), "cpu", n_steps=n_steps)

    def observe(time: int) -> dict[str, np.ndarray]:
        return {key: np.full((1, 2), 10 * place + time) for place, key in enumerate(keys)}

    for t in range(4):
        buffer.add(observe(t), observe(t + 1), np.zeros(1, int), np.zeros(1), np.asarray([t == 3]), [{}])
    samples = buffer.sample(50)
    for name, shift in (("observations", 0), ("next_observations", 1)):
        observations = getattr(samples, name)
        assert set(observations) == set(keys)
        for place, key in enumerate(keys):
            times = observations[key] - 10 * place
            assert int(times.min()) >= shift
            assert int(times.max()) <= 3 + shift
