"""Which shapes the adaptors take, and that no other one is stored with its numbers elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from memories.errors import InvalidValue
from memories.replay.adaptors import cleanrl

IMAGE = spaces.Box(0, 255, (4, 8, 8), np.uint8)
VECTOR = spaces.Box(-100, 100, (3,), np.float32)
SQUARE = spaces.Box(-100, 100, (2, 2), np.float32)


def new_buffer(space: Any, num_envs: int, action_space: Any = None, **options: Any) -> cleanrl.ReplayBuffer:
    return cleanrl.ReplayBuffer(
        10, space, action_space or spaces.Discrete(2), n_envs=num_envs, seed=0, **options
    )


@pytest.mark.parametrize(
    ("space", "num_envs", "shape"),
    [
        (IMAGE, 1, (1, 8, 8, 4)),
        (IMAGE, 1, (8, 8, 4)),
        (IMAGE, 2, (2, 8, 8, 4)),
        (IMAGE, 1, (1, 256)),
        (VECTOR, 2, (3, 2)),
        (VECTOR, 2, (6,)),
        (VECTOR, 3, (9, 1)),
        (SQUARE, 2, (2, 4)),
    ],
)
@pytest.mark.parametrize("n_steps", [1, 3])
def test_observations_of_another_shape_are_refused(
    space: Any, num_envs: int, shape: tuple[int, ...], n_steps: int
) -> None:
    buffer = new_buffer(space, num_envs, n_steps=n_steps)
    wrong, right = np.zeros(shape), np.zeros((num_envs, *space.shape))
    rest = (np.zeros(num_envs, int), np.zeros(num_envs), np.zeros(num_envs), [{}] * num_envs)
    for pair in ((wrong, right), (right, wrong)):
        with pytest.raises(InvalidValue) as caught:
            buffer.add(*pair, *rest)
        assert str(shape) in str(caught.value)
        assert str((num_envs, *space.shape)) in str(caught.value)
    buffer.rows.cut()
    assert buffer.size() == 0


@pytest.mark.parametrize(
    ("space", "num_envs", "shape"),
    [
        (VECTOR, 1, (3,)),
        (VECTOR, 1, (1, 1, 3)),
        (VECTOR, 2, (2, 1, 3)),
        (IMAGE, 1, (4, 8, 8)),
        (spaces.Box(0, 255, (1, 4, 4), np.uint8), 2, (2, 4, 4)),
        (spaces.Discrete(9), 2, (2,)),
        (spaces.Discrete(9), 2, (2, 1)),
        (spaces.Discrete(9), 1, ()),
    ],
)
def test_axes_of_length_1_may_be_missing(space: Any, num_envs: int, shape: tuple[int, ...]) -> None:
    buffer = new_buffer(space, num_envs)
    obs = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    buffer.add(obs, obs, np.zeros(num_envs, int), np.zeros(num_envs), np.zeros(num_envs), [{}] * num_envs)
    batch, _ = buffer.rows.buffer.read(buffer.rows.buffer.handles())
    assert batch["obs"].ravel().tolist() == obs.ravel().tolist()


def test_actions_come_flat_or_in_the_shape_of_their_space() -> None:
    rest = (np.zeros(2), np.zeros(2), [{}, {}])
    obs = np.zeros((2, 3))
    for shape in ((2, 4), (2, 2, 2), (2, 1, 4)):
        buffer = new_buffer(VECTOR, 2, SQUARE)
        buffer.add(obs, obs, np.arange(8.0).reshape(shape), *rest)
        batch, _ = buffer.rows.buffer.read(buffer.rows.buffer.handles())
        assert batch["action"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for shape in ((4, 2), (8,)):
        with pytest.raises(InvalidValue, match="action"):
            buffer.add(obs, obs, np.arange(8.0).reshape(shape), *rest)
