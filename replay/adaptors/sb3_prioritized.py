"""DQN and SAC that weight their losses and report TD errors, so that priorities mean something.

They differ from Stable-Baselines3's in these two points and in the buffer that they use by default; all
arguments are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional

from ...errors import InvalidType
from .sb3 import PrioritizedReplayBuffer, Samples


class PrioritizedDQN(DQN):
    """DQN with prioritized replay: each row's Huber loss is multiplied by its importance weight."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("replay_buffer_class", PrioritizedReplayBuffer)
        super().__init__(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        buffer = _prioritized(self)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            samples = buffer.sample(batch_size, env=self._vec_normalize_env)
            with torch.no_grad():
                best_next = self.q_net_target(samples.next_observations).amax(dim=1, keepdim=True)
                target = samples.rewards + (1 - samples.dones) * _discounts(self, samples) * best_next
            predicted = self.q_net(samples.observations).gather(1, samples.actions.long())
            row_losses = functional.smooth_l1_loss(predicted, target, reduction="none")
            loss = (samples.weights * row_losses).mean()

            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            buffer.update_priorities(samples.handles, target - predicted)
            losses.append(loss.item())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))


class PrioritizedSAC(SAC):
    """SAC with prioritized replay: importance weights on the critics' loss, and their mean TD error back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("replay_buffer_class", PrioritizedReplayBuffer)
        super().__init__(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        buffer = _prioritized(self)
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        if self.ent_coef_optimizer is not None:
            optimizers.append(self.ent_coef_optimizer)
        self._update_learning_rate(optimizers)
        history: dict[str, list[float]] = {}
        for step in range(gradient_steps):
            samples = buffer.sample(batch_size, env=self._vec_normalize_env)
            if self.use_sde:
                self.actor.reset_noise()
            actions, log_prob = self.actor.action_log_prob(samples.observations)
            log_prob = log_prob.reshape(-1, 1)
            temperature = self._train_temperature(log_prob, history)
            self._train_critic(samples, temperature, buffer, history)
            self._train_actor(samples, actions, log_prob, temperature, history)
            if step % self.target_update_interval == 0:
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, values in history.items():
            self.logger.record(f"train/{name}", np.mean(values))

    def _train_temperature(self, log_prob: torch.Tensor, history: dict[str, list[float]]) -> torch.Tensor:
        """The entropy coefficient for this step; learns it first where it is learned."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            temperature: torch.Tensor = self.ent_coef_tensor
        else:
            temperature = torch.exp(self.log_ent_coef.detach())
            loss = -(self.log_ent_coef * (log_prob + float(self.target_entropy)).detach()).mean()
            _descend(self.ent_coef_optimizer, loss)
            history.setdefault("ent_coef_loss", []).append(loss.item())
        history.setdefault("ent_coef", []).append(temperature.item())
        return temperature

    def _train_critic(
        self,
        samples: Samples,
        temperature: torch.Tensor,
        buffer: PrioritizedReplayBuffer,
        history: dict[str, list[float]],
    ) -> None:
        with torch.no_grad():
            next_actions, next_log_prob = self.actor.action_log_prob(samples.next_observations)
            values = torch.cat(self.critic_target(samples.next_observations, next_actions), dim=1)
            soft_value = values.amin(dim=1, keepdim=True) - temperature * next_log_prob.reshape(-1, 1)
            target = samples.rewards + (1 - samples.dones) * _discounts(self, samples) * soft_value
        errors = torch.cat(self.critic(samples.observations, samples.actions), dim=1) - target
        loss = 0.5 * (samples.weights * errors.square()).mean(dim=0).sum()
        _descend(self.critic.optimizer, loss)
        buffer.update_priorities(samples.handles, errors.abs().mean(dim=1))
        history.setdefault("critic_loss", []).append(loss.item())

    def _train_actor(
        self,
        samples: Samples,
        actions: torch.Tensor,
        log_prob: torch.Tensor,
        temperature: torch.Tensor,
        history: dict[str, list[float]],
    ) -> None:
        values = torch.cat(self.critic(samples.observations, actions), dim=1)
        loss = (temperature * log_prob - values.amin(dim=1, keepdim=True)).mean()
        _descend(self.actor.optimizer, loss)
        history.setdefault("actor_loss", []).append(loss.item())


def _prioritized(model: Any) -> PrioritizedReplayBuffer:
    buffer = model.replay_buffer
    if not isinstance(buffer, PrioritizedReplayBuffer):
        raise InvalidType(
            f"{type(model).__name__} needs a replay_buffer_class with priorities (the default is one), "
            f"got {type(buffer).__name__}."
        )
    return buffer


def _descend(optimizer: Any, loss: Any) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _discounts(model: Any, samples: Samples) -> Any:
    return model.gamma if samples.discounts is None else samples.discounts
