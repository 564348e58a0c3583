"""Replay on a cluster beside TorchRL's Ray-backed buffer and Reverb: the same rows, in one run.

    python -m benchmarks.replay_cluster [--quick] [--json FILE]

Rows are a 17-float observation, a 6-float action, a reward, the next observation and a done flag; batches
have 256 rows, buffers 100,000, ours two shards. All sides run on this machine, take turns in short rounds,
and a ratio is the median over rounds of (their time / our time). The peers run in environments of their
own, TorchRL in a Ray of its own; Reverb's server and client share one process, its quickest arrangement.
An insert counts when it is acknowledged, so every round ends with a flush.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import ray

import memories
from benchmarks.bars import Report, options_of
from benchmarks.pairs import Pairs, seconds, take_turns
from benchmarks.peers import PeerUnavailable, peer_python
from benchmarks.served import PeerFailed, Served
from memories.actors.config import ClusterConfig
from memories.replay import Schema

ROWS, BATCH, SHARDS = 100_000, 256, 2
WARM_UP = 512
COLD_BATCHES, COLD_ROUNDS = 50, 3
TORCHRL, REVERB = "torchrl==0.14.0", "dm-reverb[tensorflow]==0.14.0"
MB = 1 << 20
RAW_BLOCK_BYTES, RAW_IN_FLIGHT = 2 * MB, 4
"""As a writer of ours sends them."""
COLUMNS: dict[str, tuple[tuple[int, ...], type]] = {
    "obs": ((17,), np.float32),
    "act": ((6,), np.float32),
    "rew": ((), np.float32),
    "next_obs": ((17,), np.float32),
    "done": ((), np.bool_),
}


def make_rows(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: (
            rng.random((count, *shape)) < 0.1
            if dtype is np.bool_
            else rng.random((count, *shape), np.float32)
        )
        for name, (shape, dtype) in COLUMNS.items()
    }


class Ours:
    """One buffer of ours, filled, and what the peers are asked for, with the seconds that it takes."""

    def __init__(self, cluster: Any, kind: str, **options: Any) -> None:
        self.rng = np.random.default_rng(0)
        schema = Schema({name: (shape, dtype) for name, (shape, dtype) in COLUMNS.items()})
        name = f"bench-{kind}"
        self.replay = cluster.replay(name, schema=schema, kind=kind, capacity=ROWS, shards=SHARDS, **options)
        with self.replay.writer() as writer:
            for _ in range(0, ROWS, 10_000):
                writer.add_batch(make_rows(10_000, self.rng))
        if kind == "prioritized":  # priorities spread over three decades
            for batch in self._some_batches(200):
                self.replay.update_priorities(batch.handles, 10.0 ** self.rng.uniform(-2, 1, BATCH))
        self.writer = self.replay.writer()
        self.samplers = {d: self.replay.sampler(batch_size=BATCH, device=d) for d in (None, "cpu")}

    def _some_batches(self, count: int) -> list[Any]:
        with self.replay.sampler(batch_size=BATCH, seed=3) as sampler:
            return [next(sampler) for _ in range(count)]

    def sample(self, calls: int, device: str | None = None) -> float:
        sampler = self.samplers[device]
        for _ in range(WARM_UP):  # what was fetched ahead while the peer had its turn does not count
            next(sampler)

        def work() -> None:
            for _ in range(calls):
                batch = next(sampler)
            assert len(batch["obs"]) == BATCH

        return seconds(work)

    def insert(self, size: int, rows: int) -> float:
        blocks = [make_rows(size, self.rng) for _ in range(rows // size)]

        def work() -> None:
            for block in blocks:
                self.writer.add_batch(block)
            self.writer.flush()

        return seconds(work)

    def insert_single(self, rows: int) -> float:
        block = make_rows(1_000, self.rng)
        singles = [{name: column[i] for name, column in block.items()} for i in range(1_000)]

        def work() -> None:
            for i in range(rows):
                self.writer.add(**singles[i % 1_000])
            self.writer.flush()

        return seconds(work)

    def update(self, calls: int) -> float:
        handles = [batch.handles for batch in self._some_batches(calls)]
        priorities = self.rng.random((calls, BATCH)) + 0.01

        def work() -> None:
            with self.replay.priority_updater() as updater:
                for some, given in zip(handles, priorities, strict=True):
                    updater.update(some, given)

        return seconds(work)


class Pinged:
    """The least that an actor can do."""

    async def ping(self) -> None:
        return None


def pings_a_second(count: int) -> float:
    """Calls in flight together, as many as there are."""
    actor = ray.remote(num_cpus=0)(Pinged).remote()
    ray.get(actor.ping.remote())
    took_s = seconds(lambda: ray.get([actor.ping.remote() for _ in range(count)]))
    ray.kill(actor)
    return count / took_s


class Taker:
    """The least that an actor can do with bytes: one copy."""

    def __init__(self) -> None:
        self._memory = np.empty(RAW_BLOCK_BYTES, np.uint8)

    async def take(self, block: np.ndarray) -> None:
        self._memory[: block.nbytes] = block


def raw_bytes_a_second(blocks: int) -> float:
    """Blocks of bytes through the object store into two plain actors, four calls in the air."""
    actors = [ray.remote(num_cpus=0)(Taker).remote() for _ in range(SHARDS)]
    block = np.ones(RAW_BLOCK_BYTES, np.uint8)

    def work() -> None:
        sent: list[Any] = []
        for turn in range(blocks):
            sent.append(actors[turn % SHARDS].take.remote(block))
            if len(sent) == RAW_IN_FLIGHT:
                _, sent = ray.wait(sent, num_returns=1)
        ray.get(sent)

    work()
    took_s = median(seconds(work) for _ in range(3))
    for actor in actors:
        ray.kill(actor)
    return blocks * block.nbytes / took_s


def copied_bytes_a_second() -> float:
    """One large copy in memory, by one core."""
    source = np.ones(256 * MB, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    return source.nbytes / min(seconds(lambda: np.copyto(target, source)) for _ in range(5))


@contextmanager
def own_cluster() -> Iterator[Any]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    config = ClusterConfig(tiers=("warm",), warm_bytes=64 * MB, temporary=True)
    cluster = memories.connect(name="bench", config=config)
    try:
        yield cluster
    finally:
        cluster.shutdown(delete=True)
        ray.shutdown()


@dataclass(frozen=True)
class Sizes:
    """How much work a round is: calls, or rows."""

    rounds: int
    our_samples: int
    torchrl_samples: int
    reverb_samples: int
    rows_in_64s: int
    rows_in_2048s: int
    single_rows: int
    reverb_rows: int
    updates: int
    pings: int
    raw_blocks: int


FULL = Sizes(7, 2_000, 100, 15, 64 * 2_000, 2_048 * 200, 30_000, 4_000, 500, 10_000, 60)
QUICK = Sizes(3, 500, 30, 5, 64 * 300, 2_048 * 40, 5_000, 1_000, 100, 2_000, 20)


def against(
    report: Report,
    what: str,
    least: float | None,
    rounds: int,
    unit: str,
    ours: tuple[Callable[[int], float], int],
    theirs: tuple[str, Callable[[int], float], int],
    items: int = 1,
) -> Pairs:
    """One row: each side does its own amount of work a round, and the times of one piece are compared."""
    (our_work, our_count), (peer, their_work, their_count) = ours, theirs
    pairs = take_turns(
        rounds,
        lambda: our_work(our_count) / our_count / items,
        lambda: their_work(their_count) / their_count / items,
    )
    detail = f"{1 / median(pairs.ours_s):,.0f} {unit}/s beside {1 / median(pairs.theirs_s):,.0f}"
    name = f"{what}, times {peer}"
    if least is None:
        report.figure(name, pairs.times_faster, "x", pairs.spread, detail)
    else:
        report.at_least(name, least, pairs.times_faster, "x", pairs.spread, detail)
    return pairs


def beside_torchrl(report: Report, sizes: Sizes, uniform: Ours, prioritized: Ours) -> Pairs:
    """Its buffer is uniform: the part that its prioritized sampler needs does not load with this torch."""
    with Served(peer_python("torchrl", TORCHRL), "benchmarks.replay_torchrl_ray") as peer:

        def theirs(name: str, count: int) -> tuple[str, Callable[[int], float], int]:
            return "TorchRL", lambda n: peer.seconds(name, n), count

        def sample(side: Ours) -> tuple[Callable[[int], float], int]:
            return lambda n: side.sample(n, "cpu"), sizes.our_samples

        pairs = against(
            report, "sampling 256 as tensors, uniform", 10, sizes.rounds, "items",
            sample(uniform), theirs("sample", sizes.torchrl_samples), BATCH,
        )  # fmt: skip
        against(
            report, "sampling 256 as tensors, prioritized", 6, sizes.rounds, "items",
            sample(prioritized), theirs("sample", sizes.torchrl_samples), BATCH,
        )  # fmt: skip
        for size, least, rows in ((64, 50, sizes.rows_in_64s), (2_048, 8, sizes.rows_in_2048s)):
            ours = (partial(uniform.insert, size), rows)
            # Its first batches in a new actor take several times as long as those that follow.
            against(
                report, f"inserting in batches of {size:,}, its first {COLD_BATCHES} in a new actor", least,
                COLD_ROUNDS, "rows", ours, theirs(f"cold{size}", COLD_BATCHES * size),
            )  # fmt: skip
            against(
                report, f"inserting in batches of {size:,}, its actor warm", least, sizes.rounds, "rows",
                ours, theirs(f"insert{size}", rows // 8 // size * size),
            )  # fmt: skip
    return pairs


def beside_reverb(report: Report, sizes: Sizes, prioritized: Ours) -> None:
    with Served(peer_python("reverb", REVERB, share_packages=False), "benchmarks.replay_reverb") as peer:

        def theirs(name: str, count: int) -> tuple[str, Callable[[int], float], int]:
            return "Reverb", lambda n: peer.seconds(name, n), count

        against(
            report, "sampling 256, prioritized", 30, sizes.rounds, "items",
            (prioritized.sample, sizes.our_samples), theirs("sample", sizes.reverb_samples), BATCH,
        )  # fmt: skip
        against(
            report, "updates of 256 priorities, acknowledged", 1, sizes.rounds, "updates",
            (prioritized.update, sizes.updates), theirs("update", sizes.updates),
        )  # fmt: skip
        against(
            report, "inserting row by row", 6, sizes.rounds, "rows",
            (prioritized.insert_single, sizes.single_rows), theirs("insert", sizes.reverb_rows),
        )  # fmt: skip
        against(
            report, "inserting in batches of 2,048 (it has none)", 30, sizes.rounds, "rows",
            (partial(prioritized.insert, 2_048), sizes.rows_in_2048s), theirs("insert", sizes.reverb_rows),
        )  # fmt: skip
        against(
            report, "inserting in batches of 64 (it has none)", None, sizes.rounds, "rows",
            (partial(prioritized.insert, 64), sizes.rows_in_64s), theirs("insert", sizes.reverb_rows),
        )  # fmt: skip


def shares(report: Report, sizes: Sizes, uniform: Ours) -> None:
    """What we reach of what the machine and Ray can do at most."""
    pings, copied = pings_a_second(sizes.pings), copied_bytes_a_second()
    report.figure("pings of a plain actor, pipelined", pings, "/s")
    report.figure("one copy in memory", copied / 1e9, "GB/s")
    rate = sizes.our_samples * BATCH / uniform.sample(sizes.our_samples)
    row_bytes = uniform.replay.schema.row_nbytes
    calls = rate / BATCH / uniform.samplers[None].batches_a_call * SHARDS
    report.figure(
        "sampling: share of the ping rate in calls", calls / pings, "", None, f"{calls:,.0f} calls/s"
    )
    report.figure(
        "sampling: batches handed out for one ping", rate / BATCH / pings, "", None, f"{rate:,.0f} items/s"
    )
    report.figure(
        "sampling: share of the memory bandwidth", rate * row_bytes / copied, "", None,
        f"{rate * row_bytes / 1e6:,.0f} MB/s",
    )  # fmt: skip
    rows = sizes.rows_in_2048s / uniform.insert(2_048, sizes.rows_in_2048s)
    report.figure(
        "inserting in 2,048s: share of the memory bandwidth", rows * row_bytes / copied, "", None,
        f"{rows * row_bytes / 1e6:,.0f} MB/s",
    )  # fmt: skip
    raw = raw_bytes_a_second(sizes.raw_blocks)
    report.figure(
        "inserting in 2,048s: share of raw bytes through the store into two actors", rows * row_bytes / raw,
        "", None, f"of {raw / 1e6:,.0f} MB/s",
    )  # fmt: skip


def main() -> int:
    options = options_of(__doc__).parse_args()
    sizes = QUICK if options.quick else FULL
    report = Report("replay_cluster", judged=not options.quick)
    with own_cluster() as cluster:
        uniform = Ours(cluster, "uniform")
        prioritized = Ours(cluster, "prioritized", alpha=0.6)
        for part in (
            lambda: shares(report, sizes, uniform),
            lambda: beside_torchrl(report, sizes, uniform, prioritized),
            lambda: beside_reverb(report, sizes, prioritized),
        ):
            try:
                part()
            except (PeerUnavailable, PeerFailed) as error:
                report.fail(f"a peer could not be measured: {error}")
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
