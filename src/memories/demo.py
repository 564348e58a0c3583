"""`memories demo`: each kind of memory at work, in one run of about a minute, on this machine.

Everything is real: a Ray of our own, tier actors, an environment, a learner. It leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table


@dataclass(slots=True)
class Report:
    """What happened, for the table at the end."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, outcome: str) -> None:
        self.rows.append((what, outcome))

    def table(self) -> Table:
        table = Table(title="What happened")
        table.add_column("what")
        table.add_column("outcome")
        for row in self.rows:
            table.add_row(*row)
        return table


def run(*, seed: int = 0) -> None:
    """Show each kind of memory in turn. Raises `AssertionError` where something is not as it should be."""
    console = Console()
    report = Report()
    started_s = time.monotonic()
    with _section(
        console, "Tiers: arrays sink under pressure, are found by metadata, and come back from a snapshot"
    ):
        _tiers(console, report, seed)
    with _section(console, "Replay: a learner trains from prioritized experience"):
        _replay(console, report, seed)
    with _section(console, "Memoria: a network remembers across segments"):
        _memoria(console, report, seed)
    console.print(report.table())
    console.print(f"all of it in {time.monotonic() - started_s:.0f} s; nothing was left behind")


@contextmanager
def _section(console: Console, title: str) -> Iterator[None]:
    console.rule(f"[bold]{title}")
    yield


def _tiers(console: Console, report: Report, seed: int) -> None:
    from .actors.memory_manager import MemoryManager

    rng = np.random.default_rng(seed)
    features = {f"features/{i}": rng.random((1_000, 256), np.float32) for i in range(12)}
    with console.status("starting Ray and the tier actors"):
        memory = MemoryManager(hot_memory_size=0.005, warm_memory_size=1, cold_memory_size=2)
    with memory, Progress(console=console, transient=True) as progress:
        bar = progress.add_task("storing 12 arrays of 1 MB into a hot tier of 5 MB", total=len(features))
        for i, (key, value) in enumerate(features.items()):
            memory.store(key, value, tier="hot", metadata={"part": i}, durable=i % 2 == 0)
            progress.advance(bar)
        tiers = {key: memory.get_tier(key) for key in features}
        sunk = sum(tier != "hot" for tier in tiers.values())
        assert sunk >= 8, tiers
        report.add("12 MB into a hot tier of 5 MB", f"{sunk} arrays sank by themselves, none was refused")
        _check(memory.retrieve_many(features), features)
        keys = memory.query({"part": {"$gte": 10}})
        assert sorted(keys) == ["features/10", "features/11"]
        report.add("a metadata query", f"part ≥ 10 found {', '.join(sorted(keys))}")
        view = memory.retrieve("features/0", start=10, end=20)
        assert np.array_equal(view, features["features/0"][10:20])
        snapshot = memory.create_snapshot(description="demo")
        memory.clear()
        assert memory.keys() == []
        restored = memory.restore_snapshot(snapshot)
        _check(memory.retrieve_many(features), features)
        report.add(
            "a snapshot, everything deleted, restored", f"{len(restored)} arrays are back, bit for bit"
        )


def _check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for key, value in expected.items():
        assert np.array_equal(found[key], value), f"{key} came back different"


def _replay(console: Console, report: Report, seed: int) -> None:
    import gymnasium

    from .replay import PrioritizedReplayBuffer, Schema

    steps = 3_000
    env = gymnasium.make("CartPole-v1")
    buffer = PrioritizedReplayBuffer(Schema.from_env(env), capacity=2_000, alpha=0.6, seed=seed)
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.1, (2, 4))  # a linear Q function, trained by hand: no framework to wait for
    best, total, updates, stale = 0.0, 0.0, 0, 0
    obs, _ = env.reset(seed=seed)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{steps:,} steps of CartPole-v1", total=steps)
        for step in range(steps):
            action = int(rng.integers(2)) if rng.random() < 0.2 else int(np.argmax(weights @ obs))
            next_obs, reward, terminated, truncated, _ = env.step(action)
            buffer.add(
                obs=obs,
                action=action,
                reward=float(reward),
                next_obs=next_obs,
                terminated=terminated,
                truncated=truncated,
            )
            total += float(reward)
            obs = next_obs
            if terminated or truncated:
                best, total = max(best, total), 0.0
                obs, _ = env.reset()
            if step >= 200 and step % 4 == 0:
                batch = buffer.sample(64, beta=0.4)
                target = (
                    batch["reward"] + 0.98 * (batch["next_obs"] @ weights.T).max(1) * ~batch["terminated"]
                )
                chosen = batch["action"].reshape(-1).astype(int)
                errors = target - (batch["obs"] @ weights.T)[np.arange(64), chosen]
                for a in (0, 1):
                    mine = chosen == a
                    step_size = 0.002 * (errors * batch.weights)[mine]
                    weights[a] += np.clip(step_size @ batch["obs"][mine], -0.05, 0.05)
                result = buffer.update_priorities(batch.handles, np.abs(errors) + 1e-3)
                updates, stale = updates + result.applied, stale + result.stale
            progress.advance(bar)
    env.close()
    assert len(buffer) == 2_000
    report.add("3,000 steps into a buffer of 2,000 rows", f"best episode {best:.0f} steps")
    report.add("priority updates", f"{updates:,} applied, {stale:,} stale")


def _memoria(console: Console, report: Report, seed: int) -> None:
    import torch

    from memoria import EngramType, Memoria

    network = Memoria(
        num_reminded_stm=4, stm_capacity=16, ltm_search_depth=5, initial_lifespan=3, num_final_ltms=4
    )
    generator = torch.Generator().manual_seed(seed)
    segments = 200
    reminded = 0
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{segments} segments", total=segments)
        for _ in range(segments):
            network.add_working_memory(torch.rand(2, 8, 64, generator=generator))
            _memories, indices = network.remind()
            reminded += int((indices >= 0).sum())
            network.adjust_lifespan_and_memories(
                indices, torch.randint(0, 6, indices.shape, generator=generator).float()
            )
            progress.advance(bar)
    long_term = int((network.engrams.engrams_types == EngramType.LONGTERM.value).sum())
    assert long_term > 0
    report.add(
        f"{segments} segments of 8 engrams, 2 rows", f"{reminded:,} times reminded, {long_term} long-term"
    )
