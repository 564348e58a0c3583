"""The acts of the demo. Everything runs at once, and a node is killed in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import StepInterrupted
from .learner import ENVIRONMENT, STEPS_AHEAD, Learner, RolloutWorker, example_row
from .record import Mark, Plot, Record, Series
from .stage import ARRAY_BYTES, COLD_BYTES, HOT_BYTES, MB, WARM_BYTES, Stage

TIERS = ("hot", "warm", "cold", "glacier")
ROUNDS = 30
WORKERS = 2
STEPS_A_ROUND = 200
UPDATES_A_ROUND = 100
BATCH = 64
ARRAYS = 40
IN_USE = 3
CAPACITY = 50_000
SEGMENT = (1, 8, 64)
TWICE_WITHIN_S = 30.0
Tell = Callable[[str], None]


@dataclass(slots=True)
class Course:
    """What is written down in every round."""

    seconds: list[float] = field(default_factory=list)
    tier_bytes: dict[str, list[float]] = field(default_factory=lambda: {tier: [] for tier in TIERS})
    returns: list[tuple[float, float]] = field(default_factory=list)
    engrams: dict[str, list[float]] = field(default_factory=lambda: {"shortterm": [], "longterm": []})
    begun_again: int = 0
    applied: int = 0
    stale: int = 0
    reminded: int = 0


class Show:
    """One run over a stage. Every act checks what it claims, and raises `AssertionError` where it fails."""

    def __init__(self, stage: Stage, record: Record, tell: Tell) -> None:
        self._stage = stage
        self._record = record
        self._tell = tell
        self._rng = np.random.default_rng(record.seed)
        self._memory = stage.cluster.memory()
        self._course = Course()
        self._started_s = time.monotonic()
        self._killed_s = 0.0
        self.features = {
            f"features/{i:02}": self._rng.random(ARRAY_BYTES // 4, np.float32) for i in range(ARRAYS)
        }

    # -- before ---------------------------------------------------------------------------------------

    def store_features(self) -> None:
        """More arrays than hot, warm and cold together may hold on this node, stored into hot."""
        for i, (key, value) in enumerate(self.features.items()):
            self._tell(
                f"storing {ARRAYS} arrays of {ARRAY_BYTES // MB} MB into a hot tier of {HOT_BYTES // MB} MB"
            )
            copies = 2 if i < IN_USE else 1
            self._memory.store(
                key,
                value,
                tier="hot",
                metadata={"part": i, "in_use": i < IN_USE},
                replicas=copies,
                durable=i >= IN_USE,
            )
            if i >= IN_USE:
                self._read_in_use()
            self._look()

    def open_replay(self) -> None:
        """The buffer, the network and the workers."""
        import ray

        from ..replay.schema import Schema

        self._tell("opening replay shards, a Memoria network and rollout workers")
        self._replay = self._stage.cluster.replay(
            "experience",
            schema=Schema.from_example(example_row()),
            kind="prioritized",
            capacity=CAPACITY,
            shards=2,
            replicas=2,
            alpha=0.6,
            seed=self._record.seed,
        )
        self._network = self._stage.cluster.memoria(
            "story",
            replicas=2,
            num_reminded_stm=4,
            stm_capacity=16,
            ltm_search_depth=5,
            initial_lifespan=3,
            num_final_ltms=4,
        )
        worker = ray.remote(RolloutWorker)
        here = _on_this_node()
        seeds = [self._record.seed * 100 + n for n in range(WORKERS)]
        self._workers: list[Any] = [
            worker.options(num_cpus=0, **here).remote(self._replay, seed) for seed in seeds
        ]
        self._learner = Learner(self._record.seed)

    # -- the main act -----------------------------------------------------------------------------------

    def run_rounds(self, advance: Callable[[], None]) -> None:
        """Workers push, the learner trains, the network remembers, features are read; in the middle the
        second node is killed, and later a new one joins."""
        import ray

        sampler = self._replay.sampler(BATCH, beta=0.4, seed=self._record.seed, prefetch=1, batches_a_call=4)
        for number in range(ROUNDS):
            if number == ROUNDS // 2:
                self._kill_a_node()
            if number == ROUNDS * 3 // 4:
                self._tell("a new node joins")
                self._stage.add_node()
            self._tell(f"round {number + 1} of {ROUNDS}: {self._headline()}")
            exploration = max(0.05, 1.0 - number / (ROUNDS * 0.4))
            weights = ray.put(self._learner.weights())
            plays = [w.play.remote(weights, STEPS_A_ROUND, exploration) for w in self._workers]
            for returns in ray.get(plays, timeout=120):
                steps = (number + 1) * WORKERS * STEPS_A_ROUND
                self._course.returns += [(float(steps), episode) for episode in returns]
            for _ in range(UPDATES_A_ROUND):
                batch = next(sampler)
                result = self._replay.update_priorities(batch.handles, self._learner.learn(batch))
                self._course.applied += result.applied
                self._course.stale += result.stale
            self._remember_a_segment()
            self._read_in_use()
            self._look()
            advance()
        sampler.close()
        ray.get([worker.finish.remote() for worker in self._workers], timeout=120)

    def _kill_a_node(self) -> None:
        self._tell("SIGKILL of the second node, with everything on it")
        self._killed_s = time.monotonic() - self._started_s
        self._lost = self._stage.lose_second_node()

    def _read_in_use(self) -> None:
        for i in range(IN_USE):
            key = f"features/{i:02}"
            assert np.array_equal(self._memory.retrieve(key), self.features[key]), key

    def _remember_a_segment(self) -> None:
        import torch

        segment = torch.from_numpy(self._rng.random(SEGMENT, np.float32))
        gains = self._rng.integers(0, 6, 64)
        while True:
            try:
                self._network.add_working_memory(segment)
                _memories, indices = self._network.remind()
                delta = torch.from_numpy(gains[: indices.shape[1]][None]).float()
                self._network.adjust_lifespan_and_memories(indices, delta)
                break
            except StepInterrupted:  # its actor was on the node that died: the step begins again
                self._course.begun_again += 1
        self._course.reminded += int((indices >= 0).sum())
        summary = self._network.summary()
        for kind, counts in self._course.engrams.items():
            counts.append(float(summary[kind]))

    def _look(self) -> None:
        status = self._stage.cluster.status()
        self._course.seconds.append(time.monotonic() - self._started_s)
        totals = status.tier_totals()
        for tier in TIERS:
            self._course.tier_bytes[tier].append(totals.get(tier, (0, 0))[0] / MB)

    def _headline(self) -> str:
        recent = [episode for _, episode in self._course.returns[-20:]]
        mean = f"{np.mean(recent):.0f}" if recent else "none so far"
        return f"mean return of the last episodes {mean}"

    # -- afterwards ---------------------------------------------------------------------------------------

    def report(self) -> None:
        """Write down what happened, and check it."""
        self._report_tiers()
        self._report_replay()
        self._report_memoria()
        self._report_fault()
        self._report_snapshot()

    def _report_tiers(self) -> None:
        section = self._record.section(
            "Tiers",
            "Arrays go into the GPU tier (the CPU where there is no GPU) and sink from there by themselves: "
            "under pressure, and with age. What is read stays.",
        )
        found = self._memory.retrieve_many(self.features)
        assert all(np.array_equal(found[key], value) for key, value in self.features.items())
        places = {key: self._memory.get_tier(key) for key in self.features}
        counts = {tier: sum(place == tier for place in places.values()) for tier in TIERS}
        used = {place for key, place in places.items() if key < f"features/{IN_USE:02}"}
        section.add(
            "stored into hot",
            "{arrays} arrays of {megabytes} MB, where a node has {hot} MB hot, {warm} MB warm and {cold} MB "
            "cold; none was refused",
            arrays=ARRAYS,
            megabytes=ARRAY_BYTES // MB,
            hot=HOT_BYTES // MB,
            warm=WARM_BYTES // MB,
            cold=COLD_BYTES // MB,
        )
        section.add(
            "where they are at the end",
            "{in_hot} hot, {in_warm} warm, {in_cold} cold, {in_glacier} glacier; the {in_use} in use: {used}",
            **{f"in_{tier}": counts[tier] for tier in TIERS},
            in_use=IN_USE,
            used=", ".join(sorted(used)),
        )
        section.add("read back", "all {read_back}, bit for bit", read_back=len(found))
        keys = self._memory.query({"part": {"$gte": ARRAYS - 2}})
        assert sorted(keys) == sorted(self.features)[-2:]
        section.add(
            "a metadata query", "part of at least {part}: {found}", part=ARRAYS - 2, found=", ".join(keys)
        )
        seconds = tuple(self._course.seconds)
        section.plots.append(
            Plot(
                "What lies in each tier, over both nodes",
                "seconds since the start",
                "MB",
                tuple(Series(tier, seconds, tuple(self._course.tier_bytes[tier])) for tier in TIERS),
                self._marks(),
                stacked=True,
            )
        )

    def _report_replay(self) -> None:
        section = self._record.section(
            "Replay",
            f"{WORKERS} rollout workers play {ENVIRONMENT} and push transitions over {STEPS_AHEAD} steps "
            "into 2 shards, each with a backup on the other node; a double DQN learns by priority.",
        )
        steps = ROUNDS * WORKERS * STEPS_A_ROUND
        stats = self._replay.stats()
        assert stats.inserted == steps, (stats.inserted, steps)
        last = [episode for _, episode in self._course.returns[-20:]]
        first = [episode for _, episode in self._course.returns[:20]]
        section.add(
            "pushed",
            "{steps} steps, {inserted} rows in the shards: none lost, none twice",
            steps=steps,
            inserted=stats.inserted,
        )
        section.add(
            "priorities",
            "{applied} set, {stale} for rows that were gone",
            applied=self._course.applied,
            stale=self._course.stale,
        )
        section.add(
            "learnt",
            "mean return {first} in the first 20 episodes, {last} in the last 20, best {best}",
            first=float(np.mean(first)),
            last=float(np.mean(last)),
            best=max(episode for _, episode in self._course.returns),
        )
        x = tuple(step for step, _ in self._course.returns)
        y = [episode for _, episode in self._course.returns]
        means = tuple(float(np.mean(y[max(0, i - 19) : i + 1])) for i in range(len(y)))
        kill_step = ROUNDS // 2 * WORKERS * STEPS_A_ROUND
        section.plots.append(
            Plot(
                "Return of an episode",
                "environment steps",
                "return",
                (Series("episode", x, tuple(y)), Series("mean of 20", x, means)),
                (Mark(float(kill_step), "a node is killed"),),
            )
        )

    def _report_memoria(self) -> None:
        section = self._record.section(
            "Memoria",
            "One network as an actor; each round is a segment, and saved on two nodes before it counts.",
        )
        summary = self._network.summary()
        assert summary["timestep"] == ROUNDS, summary
        section.add(
            "segments",
            "{timestep}, of {engrams_each} engrams each",
            timestep=summary["timestep"],
            engrams_each=SEGMENT[1],
        )
        section.add(
            "remembered",
            "{reminded} times reminded; {shortterm} short-term and {longterm} long-term engrams live",
            reminded=self._course.reminded,
            shortterm=summary["shortterm"],
            longterm=summary["longterm"],
        )
        x = tuple(float(i + 1) for i in range(ROUNDS))
        section.plots.append(
            Plot(
                "Living engrams",
                "segment",
                "engrams",
                tuple(Series(kind, x, tuple(counts)) for kind, counts in self._course.engrams.items()),
                (Mark(float(ROUNDS // 2 + 1), "a node is killed"),),
            )
        )

    def _report_fault(self) -> None:
        section = self._record.section(
            "A node dies",
            "The second raylet was killed with SIGKILL in the middle, and a new one joined later.",
        )
        copies = self._wait_for_copies()
        section.add(
            "killed",
            "at {killed_s} s, with its tiers, its shards and all that it held",
            killed_s=self._killed_s,
        )
        section.add(
            "went on",
            "every read, insert and draw; {begun_again} Memoria steps were begun again",
            begun_again=self._course.begun_again,
        )
        section.add(
            "healed",
            "the {copied} arrays that ask for two copies have them again on two nodes",
            copied=copies,
        )

    def _wait_for_copies(self) -> int:
        ends_s = time.monotonic() + TWICE_WITHIN_S
        keys = sorted(self.features)[:IN_USE]
        client = self._stage.cluster.client()
        while True:
            located = client.locate_many(keys, touch=False)
            twice = [where for where in located if len(where.members) >= 2]
            if len(twice) == len(keys):
                return len(keys)
            if time.monotonic() > ends_s:
                raise AssertionError(f"two copies each were not back within {TWICE_WITHIN_S:g} s: {located}")
            time.sleep(0.1)

    def _report_snapshot(self) -> None:
        section = self._record.section(
            "A snapshot", "Everything in one file; everything deleted; everything back."
        )
        self._tell("a snapshot, everything deleted, and back")
        path = self._stage.folder / "demo.memories"
        self._memory.create_snapshot(path)
        size = path.stat().st_size
        self._memory.clear()
        assert self._memory.keys() == []
        restored = [key for key in self._memory.restore_snapshot(path) if key in self.features]
        found = self._memory.retrieve_many(self.features)
        assert all(np.array_equal(found[key], value) for key, value in self.features.items())
        section.add("written", "{snapshot_mb} MB", snapshot_mb=size / MB)
        section.add("restored", "{restored} arrays, bit for bit", restored=len(restored))

    def _marks(self) -> tuple[Mark, ...]:
        return (Mark(self._killed_s, "a node is killed"),)


def _on_this_node() -> dict[str, Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
