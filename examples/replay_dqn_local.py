"""A double DQN in one file on a prioritized replay buffer of this process, without Ray.

    python examples/replay_dqn_local.py            # under a minute
    python examples/replay_dqn_local.py --quick    # a few seconds: shows that it runs, learns little

Four CartPoles step together. A recorder hands every true transition to a writer, which makes 3-step
transitions of them; the learner samples by priority and reports its TD errors back.
"""

from __future__ import annotations

import argparse
from collections import deque

import gymnasium
import numpy as np
import torch
from torch import nn

from memories.replay import LinearSchedule, NStepWriter, PrioritizedReplayBuffer, Schema
from memories.replay.adaptors.vector_env import VectorRecorder

NUM_ENVS = 4
BATCH_SIZE = 64
LEARNING_STARTS = 500
UPDATES_PER_STEP = 2  # gradient steps for every step of all environments
TARGET_EVERY = 20  # steps of all environments


def make_network(observations: int, actions: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(observations, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, actions)
    )


def train(steps: int, seed: int) -> float:
    """Returns the mean return of the last 20 episodes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    envs = gymnasium.make_vec("CartPole-v1", num_envs=NUM_ENVS)
    num_actions = int(envs.single_action_space.n)

    # obs, action, reward, next_obs, terminated, truncated, and what the n-step writer adds.
    schema = Schema.from_env(envs, extra={"discount": np.float32})
    buffer = PrioritizedReplayBuffer(
        schema, 50_000, alpha=0.6, beta=LinearSchedule(0.4, 1.0, steps // NUM_ENVS), seed=seed
    )
    recorder = VectorRecorder(envs, NStepWriter(buffer, n=3, gamma=0.99, num_envs=NUM_ENVS))

    network = make_network(schema["obs"].shape[0], num_actions)
    target_network = make_network(schema["obs"].shape[0], num_actions)
    target_network.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=2.3e-3)

    returns: deque[float] = deque(maxlen=20)
    running = np.zeros(NUM_ENVS)
    obs, _ = recorder.reset(seed=seed)
    for step in range(0, steps, NUM_ENVS):
        epsilon = max(0.05, 1.0 - step / (0.3 * steps))
        with torch.no_grad():
            actions = network(torch.from_numpy(obs)).argmax(dim=1).numpy()
        explore = rng.random(NUM_ENVS) < epsilon
        actions[explore] = rng.integers(0, num_actions, int(explore.sum()))
        obs, reward, terminated, truncated, _ = recorder.step(actions)

        running += reward
        ended = terminated | truncated
        returns.extend(running[ended].tolist())
        running[ended] = 0.0

        if len(buffer) < LEARNING_STARTS:
            continue
        for _ in range(UPDATES_PER_STEP):
            batch = buffer.sample(BATCH_SIZE).to_torch()
            with torch.no_grad():
                best = network(batch["next_obs"]).argmax(dim=1, keepdim=True)
                future = target_network(batch["next_obs"]).gather(1, best)[:, 0]
                # discount is gamma**3, less at an episode's end, and 0 where it terminated.
                target = batch["reward"] + batch["discount"] * future
            predicted = network(batch["obs"]).gather(1, batch["action"][:, None])[:, 0]
            errors = target - predicted
            loss = (batch.weights * nn.functional.huber_loss(predicted, target, reduction="none")).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            buffer.update_priorities(batch.handles, errors.detach().abs() + 1e-6)

        if step // NUM_ENVS % TARGET_EVERY == 0:
            target_network.load_state_dict(network.state_dict())
        if step // NUM_ENVS % 1000 == 0:
            print(f"step {step:6}: return {np.mean(returns):6.1f}, {len(buffer)} rows, epsilon {epsilon:.2f}")
    envs.close()
    return float(np.mean(returns)) if returns else 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="eight thousand steps")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # a network this small only loses by threads
    mean = train(8_000 if chosen.quick else chosen.steps, chosen.seed)
    print(f"mean return of the last 20 episodes: {mean:.1f}")
