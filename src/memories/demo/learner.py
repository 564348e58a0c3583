"""A small double DQN: rollout workers as Ray actors, and the learner that trains from what they push."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..actors.replay import Replay

ENVIRONMENT = "CartPole-v1"
GAMMA = 0.99
STEPS_AHEAD = 3
Weights = list[np.ndarray]


class RolloutWorker:
    """Plays episodes with the weights that it is given, and pushes every step into the replay buffer."""

    def __init__(self, replay: Replay, seed: int) -> None:
        import gymnasium

        self._env = gymnasium.make(ENVIRONMENT)
        self._rng = np.random.default_rng(seed)
        self._obs, _ = self._env.reset(seed=seed)
        self._writer = replay.writer(n_step=STEPS_AHEAD, gamma=GAMMA)
        self._return = 0.0

    def play(self, weights: Weights, steps: int, exploration: float) -> list[float]:
        """Play so many steps; the returns of the episodes that ended. All finished rows are acknowledged."""
        returns = []
        for _ in range(steps):
            explore = self._rng.random() < exploration
            action = int(self._rng.integers(2)) if explore else int(np.argmax(values(weights, self._obs)))
            after, reward, terminated, truncated, _ = self._env.step(action)
            self._writer.add(
                obs=self._obs,
                action=action,
                reward=float(reward),
                next_obs=after,
                terminated=terminated,
                truncated=truncated,
            )
            self._return += float(reward)
            self._obs = after
            if terminated or truncated:
                returns.append(self._return)
                self._return = 0.0
                self._obs, _ = self._env.reset()
        self._writer.flush()
        return returns

    def finish(self) -> None:
        """End the running episode, so that every step played is a row in the buffer."""
        self._writer.close()


def values(weights: Weights, obs: np.ndarray) -> Any:
    """The values of the actions, without torch: workers start faster."""
    hidden = np.maximum(obs @ weights[0].T + weights[1], 0.0)
    return hidden @ weights[2].T + weights[3]


class Learner:
    """Double DQN with a slowly following target, trained from prioritized batches."""

    def __init__(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self._torch = torch
        self._network = self._new()
        self._target = self._new()
        self._target.load_state_dict(self._network.state_dict())
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=2e-3)

    def weights(self) -> Weights:
        """What workers play with."""
        return [p.detach().numpy().copy() for p in self._network.parameters()]

    def learn(self, batch: Any) -> np.ndarray:
        """One step of gradient descent; the new priorities of the rows."""
        torch = self._torch

        def column(name: str) -> Any:
            return torch.as_tensor(np.array(batch[name]))  # batches are read-only views

        with torch.no_grad():
            following = column("next_obs")
            best = self._network(following).argmax(1, keepdim=True)
            future = self._target(following).gather(1, best).squeeze(1)
            wanted = column("reward").float() + column("discount").float() * future
        chosen = self._network(column("obs")).gather(1, column("action").long().view(-1, 1)).squeeze(1)
        error = wanted - chosen
        weights = torch.as_tensor(np.array(batch.weights)).float()
        loss = (weights * torch.nn.functional.huber_loss(chosen, wanted, reduction="none")).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self._target.parameters(), self._network.parameters(), strict=True):
                slow.lerp_(fast, 0.02)
        priorities: np.ndarray = error.detach().abs().numpy() + 1e-3
        return priorities

    def _new(self) -> Any:
        nn = self._torch.nn
        return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))


def example_row() -> dict[str, Any]:
    """A row of the buffer, from which its schema is made."""
    return {
        "obs": np.zeros(4, np.float32),
        "action": np.int64(0),
        "reward": np.float32(0),
        "next_obs": np.zeros(4, np.float32),
        "terminated": np.bool_(False),
        "truncated": np.bool_(False),
        "discount": np.float32(0),
    }
