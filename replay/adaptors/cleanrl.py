"""A drop-in for the replay buffer of single-file learners in the manner of CleanRL.

from memories.replay.adaptors.cleanrl import ReplayBuffer

rb = ReplayBuffer(buffer_size, envs.single_observation_space, envs.single_action_space, device,
                  handle_timeout_termination=False)
rb.add(obs, real_next_obs, actions, rewards, terminations, infos)
data = rb.sample(batch_size)          # data.observations, data.next_observations, data.actions, ...
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batch import Batch
from ..buffer import UpdateResult
from ..frames import ImageStorage
from .transitions import Samples, Transitions, learner_rows


class ReplayBuffer:
    """Uniform replay of transitions, as torch tensors on ``device``.

    ``dones`` of a sample are 1 where the episode terminated. Pass terminations as ``done``, or both ends
    together with infos that carry ``TimeLimit.truncated``. ``n_steps`` stores n-step transitions, to be
    used as ``rewards + (1 - dones) * discounts * value(next_observations)`` (None for single steps). They
    end, and bootstrap, at a truncation: it shows in the infos of a vector environment that resets in the
    same step, or in an ``obs`` that is not the ``next_obs`` of the call before.
    ``optimize_memory_usage`` keeps equal frames of large observations once. Without ``seed`` it follows
    NumPy's global generator, which such scripts seed.
    """

    _prioritized = False

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: Any = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        images: ImageStorage | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        self.device = _device(device)
        self.rows = learner_rows(
            buffer_size,
            observation_space,
            action_space,
            n_envs,
            share_frames=optimize_memory_usage,
            handle_timeouts=handle_timeout_termination,
            n_steps=n_steps,
            gamma=gamma,
            prioritized=self._prioritized,
            images=images,
            seed=seed,
            **options,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def size(self) -> int:
        """Rows stored."""
        return len(self.rows)

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any = None) -> None:
        """Store one step of every environment; ``next_obs`` is the last observation where one ended."""
        self.rows.add(obs, next_obs, action, reward, done, infos)

    def sample(self, batch_size: int) -> Samples:
        return samples_of(self.rows, self.rows.sample(batch_size), self.device, self._prioritized)


class PrioritizedReplayBuffer(ReplayBuffer):
    """Prioritized replay: takes ``alpha`` and ``beta`` (numbers or schedules) besides.

    A sample has ``weights`` for the loss; hand the absolute TD errors back with `update_priorities`.
    """

    _prioritized = True

    def update_priorities(self, handles: Any, td_errors: Any) -> UpdateResult:
        """Set the priorities of sampled rows to ``abs(td_errors) + 1e-6``; overwritten rows are left out."""
        return self.rows.update_priorities(handles, td_errors)


def samples_of(rows: Transitions, batch: Batch, device: Any, prioritized: bool) -> Samples:
    """A batch as the tensors that a learner takes. On the CPU they share the batch's memory."""
    import torch

    def tensor(array: Any) -> Any:
        if isinstance(array, dict):
            return {name: tensor(inner) for name, inner in array.items()}
        return torch.from_numpy(array).to(device)

    def column(array: Any) -> Any:
        return tensor(array.reshape(-1, 1))

    return Samples(
        tensor(rows.observations(batch, "obs")),
        tensor(batch["action"]),
        tensor(rows.observations(batch, "next_obs")),
        column(batch["terminated"].astype(np.float32)),
        column(batch["reward"]),
        column(batch["discount"]) if "discount" in batch else None,
        column(batch.weights) if prioritized else None,
        batch.handles if prioritized else None,
    )


def _device(device: Any) -> Any:
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
