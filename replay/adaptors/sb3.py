"""Our buffers in Stable-Baselines3.

    from memories.replay.adaptors import sb3

    model = DQN("MlpPolicy", env, replay_buffer_class=sb3.ReplayBuffer)        # or SAC, TD3, ...
    model = sb3.PrioritizedDQN("MlpPolicy", env, replay_buffer_kwargs={"alpha": 0.6, "beta": 0.4})

Stable-Baselines3's own algorithms never report TD errors, so priorities need the algorithms of
`sb3_prioritized`, which are here under their names as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import MissingDependency
from ..batch import Batch
from ..buffer import UpdateResult
from ..frames import ImageStorage
from .transitions import Samples, Transitions, learner_rows

try:
    from stable_baselines3.common import buffers as sb3_buffers
except ImportError as error:
    raise MissingDependency("This adaptor needs Stable-Baselines3: pip install stable-baselines3.") from error

if TYPE_CHECKING:
    from .sb3_prioritized import PrioritizedDQN, PrioritizedSAC

__all__ = ["PrioritizedDQN", "PrioritizedReplayBuffer", "PrioritizedSAC", "ReplayBuffer", "Samples"]

logger = logging.getLogger(__name__)

SAMPLES_WITHOUT_UPDATE = 100


class ReplayBuffer(sb3_buffers.ReplayBuffer):
    """A ``replay_buffer_class`` for off-policy algorithms, for array and dict observations alike.

    Takes what SB3 passes, and through ``replay_buffer_kwargs``: ``n_steps`` and ``gamma`` for n-step
    transitions (SB3's ``n_steps=`` reaches only its own buffers), ``images`` for an `ImageStorage`,
    ``sampler`` for another choice of rows, ``seed`` (default: drawn from NumPy's global generator, which
    SB3 seeds). ``optimize_memory_usage=True`` keeps equal frames of large observations once, and works
    together with timeouts. Under `VecNormalize` an n-step reward is normalised as one reward. Windows of n
    steps end where the environment is reset between two calls of ``learn``.

    ``rows.buffer`` is the `memories.replay.ReplayBuffer` inside; arrays named ``observations`` and so on
    do not exist.
    """

    _prioritized = False

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: Any = "auto",
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
        # The base of SB3's buffer, not the buffer itself: that would allocate its own arrays.
        sb3_buffers.BaseBuffer.__init__(
            self, buffer_size, observation_space, action_space, device, n_envs=n_envs
        )
        self.buffer_size = max(buffer_size // n_envs, 1)  # in steps of all environments, as SB3 counts
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = handle_timeout_termination
        self.rows = learner_rows(
            self.buffer_size * n_envs,
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
        self.dones = _LastDones(self.rows)  # type: ignore[assignment]

    def add(
        self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: list[dict[str, Any]]
    ) -> None:
        """Store one step of every environment."""
        self.rows.add(obs, next_obs, action, reward, done, infos)
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full = True
            self.pos = 0

    def reset(self) -> None:
        """Forget everything that is stored."""
        super().reset()
        self.rows.clear()

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Draw transitions as tensors on the buffer's device, normalised by ``env`` if it normalises."""
        return self._samples(self.rows.sample(batch_size), env)

    def _samples(self, batch: Batch, env: Any) -> Samples:
        return Samples(
            self._tensor(self._normalize_obs(self.rows.observations(batch, "obs"), env)),
            self._tensor(batch["action"]),
            self._tensor(self._normalize_obs(self.rows.observations(batch, "next_obs"), env)),
            self._tensor(batch["terminated"].astype(np.float32).reshape(-1, 1)),
            self._tensor(self._normalize_reward(batch["reward"].reshape(-1, 1), env)),
            self._tensor(batch["discount"].reshape(-1, 1)) if "discount" in batch else None,
        )

    def _tensor(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._tensor(array) for name, array in value.items()}
        return self.to_torch(value, copy=False)  # the arrays are ours alone


class PrioritizedReplayBuffer(ReplayBuffer):
    """Draws transitions by priority; for `PrioritizedDQN` and `PrioritizedSAC`.

    ``replay_buffer_kwargs`` takes ``alpha`` and ``beta`` besides (numbers, or schedules of the number of
    batches drawn). With an algorithm that reports no TD errors all priorities stay equal: that is said
    once.
    """

    _prioritized = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._samples_without_update = 0

    def sample(self, batch_size: int, env: Any = None) -> Any:
        batch = self.rows.sample(batch_size)
        self._samples_without_update += 1
        if self._samples_without_update == SAMPLES_WITHOUT_UPDATE:
            logger.warning(
                "%d batches were drawn and no TD error came back: the algorithm does not use priorities. "
                "Use PrioritizedDQN or PrioritizedSAC, or call update_priorities yourself.",
                SAMPLES_WITHOUT_UPDATE,
            )
        weights = self._tensor(batch.weights.reshape(-1, 1))
        return self._samples(batch, env)._replace(weights=weights, handles=batch.handles)

    def update_priorities(self, handles: Any, td_errors: Any) -> UpdateResult:
        """Set the priorities of sampled rows to ``abs(td_errors) + 1e-6``; overwritten rows are left out."""
        self._samples_without_update = 0
        return self.rows.update_priorities(handles, td_errors)


class _LastDones:
    """Stands for SB3's array of dones, into which it writes only where it cuts the last trajectories."""

    def __init__(self, rows: Transitions) -> None:
        self._rows = rows

    def __setitem__(self, index: Any, value: Any) -> None:
        self._rows.cut()


def __getattr__(name: str) -> Any:
    if name in ("PrioritizedDQN", "PrioritizedSAC"):
        from . import sb3_prioritized

        return getattr(sb3_prioritized, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
