"""A DQN on a cluster: four Ray rollout workers fill a sharded, replicated buffer, one learner samples it.

    python examples/replay_dqn_cluster.py                       # solves CartPole-v1 in a few minutes
    python examples/replay_dqn_cluster.py --stop-at 195 --max-minutes 2

Each worker steps a gymnasium vector environment and writes 3-step transitions through its own writer; the
buffer is prioritized. The learner is a double DQN that reports its TD errors back as priorities. Every few
seconds it plays 20 whole episodes without exploring; the run ends when their mean return reaches
--stop-at, or when its time is up, and writes a plot of what happened.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import ray
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

import memories
from memories.replay import NStepWriter, Schema
from memories.replay.adaptors.vector_env import VectorRecorder

ENV = "CartPole-v1"
NUM_WORKERS = 4
ENVS_A_WORKER = 4
STEPS_A_ROUND = 8  # of each environment, then the worker takes the newest network
CAPACITY = 50_000
LEARNING_STARTS = 1_000
BATCH_SIZE = 128
UPDATES_PER_STEP = 0.25
N_STEP, GAMMA = 3, 0.99
LEARNING_RATE = 1e-3
TARGET_SHARE = 0.01  # of the way that the target network goes to the network, at every update
EXPLORING_STEPS, LAST_EPSILON = 10_000, 0.04
EVALUATION_EPISODES = 20
EVALUATE_EVERY = 4_096  # steps


def make_envs(num_envs: int) -> Any:
    return gymnasium.make_vec(ENV, num_envs=num_envs, vectorization_mode="vector_entry_point")


def make_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def epsilon_at(step: int) -> float:
    return max(LAST_EPSILON, 1.0 - step / EXPLORING_STEPS)


def evaluate(network: nn.Module, seed: int) -> float:
    """The mean return of whole episodes that start at `seed` and are played without exploring."""
    envs = make_envs(EVALUATION_EPISODES)
    obs, _ = envs.reset(seed=seed)
    returns, running = np.zeros(EVALUATION_EPISODES), np.ones(EVALUATION_EPISODES, np.bool_)
    while running.any():
        with torch.no_grad():
            actions = network(torch.from_numpy(obs)).argmax(dim=1).numpy()
        obs, reward, terminated, truncated, _ = envs.step(actions)
        returns += reward * running
        running &= ~(terminated | truncated)
    envs.close()
    return float(returns.mean())


class Learner:
    """A double DQN with a slowly following target network."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network, self.target = make_network(), make_network()
        self.target.load_state_dict(self.network.state_dict())
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)

    def update(self, batch: Any) -> np.ndarray:
        """One gradient step on a batch of tensors; returns the new priorities of its rows."""
        with torch.no_grad():
            best = self.network(batch["next_obs"]).argmax(dim=1, keepdim=True)
            future = self.target(batch["next_obs"]).gather(1, best)[:, 0]
            # discount is gamma**3, less at an episode's end, and 0 where it terminated.
            goal = batch["reward"] + batch["discount"] * future
        predicted = self.network(batch["obs"]).gather(1, batch["action"][:, None])[:, 0]
        loss = (batch.weights * nn.functional.huber_loss(predicted, goal, reduction="none")).mean()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self._optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, TARGET_SHARE)
        return (goal - predicted).detach().abs().numpy() + 1e-3

    def weights(self) -> dict[str, np.ndarray]:
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}


@ray.remote(num_cpus=0.25)
class RolloutWorker:
    """Plays with the newest network and writes every transition into the buffer."""

    def __init__(self, replay: Any, seed: int) -> None:
        torch.set_num_threads(1)
        self._rng = np.random.default_rng(seed)
        self._network = make_network()
        self._writer = NStepWriter(replay.writer(), n=N_STEP, gamma=GAMMA, num_envs=ENVS_A_WORKER)
        self._recorder = VectorRecorder(make_envs(ENVS_A_WORKER), self._writer)
        self._obs, _ = self._recorder.reset(seed=seed)
        self._running = np.zeros(ENVS_A_WORKER)

    def play(self, weights: dict[str, np.ndarray], epsilon: float) -> list[float]:
        """Some steps of every environment; returns the returns of the episodes that ended."""
        self._network.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in weights.items()})
        finished: list[float] = []
        for _ in range(STEPS_A_ROUND):
            with torch.no_grad():
                actions = self._network(torch.from_numpy(self._obs)).argmax(dim=1).numpy()
            explore = self._rng.random(ENVS_A_WORKER) < epsilon
            actions[explore] = self._rng.integers(0, 2, int(explore.sum()))
            self._obs, reward, terminated, truncated, _ = self._recorder.step(actions)
            self._running += reward
            ended = terminated | truncated
            finished.extend(self._running[ended].tolist())
            self._running[ended] = 0.0
        self._writer.flush()
        return finished


@dataclass
class History:
    """What the plot shows."""

    episodes: list[tuple[int, float]] = field(default_factory=list)  # step, return
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # step, mean return
    solved: bool = False
    seconds: float = 0.0

    def plot(self, path: Path) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
        if self.episodes:
            axes.plot(*zip(*self.episodes, strict=True), ".", markersize=3, alpha=0.4, label="episode")
        if self.evaluations:
            mean = f"mean of {EVALUATION_EPISODES} without exploring"
            axes.plot(*zip(*self.evaluations, strict=True), "o-", label=mean)
        axes.axhline(475, color="grey", linestyle=":", label="solved")
        axes.set(xlabel="steps of all environments", ylabel="return", title=f"{ENV}, {self.seconds:.0f} s")
        axes.legend()
        figure.savefig(path, dpi=120)
        pyplot.close(figure)


def progress_bar() -> Progress:
    return Progress(
        TextColumn("eval {task.fields[evaluation]:5.1f}"),
        BarColumn(bar_width=20),
        TextColumn(
            "return {task.fields[recent]:5.1f}  {task.fields[steps]:,} steps {task.fields[pace]:,.0f}/s  "
            "{task.fields[updates]:,} updates  epsilon {task.fields[epsilon]:.2f}"
        ),
        TimeElapsedColumn(),
        console=Console(),
    )


def train(replay: Any, seed: int, stop_at: float, max_seconds: float) -> History:
    """Runs workers and learner until an evaluation reaches `stop_at` or the time is up."""
    learner, history = Learner(seed), History()
    workers = [RolloutWorker.remote(replay, 1000 * seed + number) for number in range(NUM_WORKERS)]
    recent: deque[float] = deque(maxlen=40)
    steps = updates = evaluated = 0
    owed = evaluation = 0.0
    started_s = time.monotonic()
    sampler = replay.sampler(batch_size=BATCH_SIZE, beta=0.4, device="cpu", seed=seed)
    with progress_bar() as bar:
        figures = {"evaluation": 0.0, "recent": 0.0, "steps": 0, "pace": 0.0, "updates": 0}
        task = bar.add_task("", total=stop_at, epsilon=1.0, **figures)
        weights = ray.put(learner.weights())
        playing = {worker.play.remote(weights, 1.0): worker for worker in workers}
        while evaluation < stop_at and time.monotonic() - started_s < max_seconds:
            # The learner works while the workers play, and waits only where it has caught up.
            caught_up = owed < 1
            done, _ = ray.wait(list(playing), num_returns=1, timeout=1.0 if caught_up else 0)
            for answer in done:
                worker = playing.pop(answer)
                steps += STEPS_A_ROUND * ENVS_A_WORKER
                returns = ray.get(answer)
                history.episodes += [(steps, value) for value in returns]
                recent.extend(returns)
                if steps >= LEARNING_STARTS:
                    owed += STEPS_A_ROUND * ENVS_A_WORKER * UPDATES_PER_STEP
                if done:
                    weights = ray.put(learner.weights())
                playing[worker.play.remote(weights, epsilon_at(steps))] = worker
            for _ in range(min(int(owed), 8)):
                batch = next(sampler)
                replay.update_priorities(batch.handles, learner.update(batch))
                owed -= 1
                updates += 1
            if steps - evaluated >= EVALUATE_EVERY:
                evaluated = steps
                evaluation = evaluate(learner.network, seed=10_000 + steps)
                history.evaluations.append((steps, evaluation))
            if done:
                seconds = time.monotonic() - started_s
                bar.update(
                    task,
                    completed=min(evaluation, stop_at),
                    evaluation=evaluation,
                    recent=float(np.mean(recent)) if recent else 0.0,
                    steps=steps,
                    pace=steps / seconds,
                    updates=updates,
                    epsilon=epsilon_at(steps),
                )
    sampler.close()
    for worker in workers:
        ray.kill(worker)
    history.solved = evaluation >= stop_at
    history.seconds = time.monotonic() - started_s
    return history


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-minutes", type=float, default=8.0)
    parser.add_argument("--stop-at", type=float, default=475.0, help="end at an evaluation this good")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--plot", type=Path, default=Path("replay_dqn_cluster.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # a network this small only loses by threads
    with memories.connect() as cluster:
        envs = make_envs(1)
        schema = Schema.from_env(envs, extra={"discount": np.float32})
        envs.close()
        name = f"cartpole-{options.seed}-{time.time_ns()}"
        replay = cluster.replay(
            name, schema=schema, kind="prioritized", capacity=CAPACITY, shards=options.shards, alpha=0.6
        )
        history = train(replay, options.seed, options.stop_at, 60 * options.max_minutes)
        replay.delete()
    history.plot(options.plot)
    best = max((value for _, value in history.evaluations), default=0.0)
    print(
        f"{'reached' if history.solved else 'did not reach'} {options.stop_at:g} in {history.seconds:.0f} s: "
        f"best evaluation {best:.1f}; {options.plot} shows the course"
    )
    return 0 if history.solved else 1


if __name__ == "__main__":
    raise SystemExit(main())
