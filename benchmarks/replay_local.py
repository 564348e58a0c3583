"""The in-process replay buffers beside cpprb (and, on request, TorchRL): the same work in one process.

    python -m benchmarks.replay_local [--quick] [--json FILE] [--torchrl]

Rows are a 17-float observation, a 6-float action, a reward, the next observation and a done flag;
batches have 256 rows. Every call gets fresh indices, handles and priorities. The two sides take turns in
short rounds, and a ratio is the median over rounds of (their time / our time): above 1 we are faster.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.bars import Report, options_of
from benchmarks.pairs import Pairs, take_turns
from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Schema

BATCH = 256
COLUMNS: dict[str, tuple[tuple[int, ...], type]] = {
    "obs": ((17,), np.float32),
    "act": ((6,), np.float32),
    "rew": ((), np.float32),
    "next_obs": ((17,), np.float32),
    "done": ((), np.bool_),
}
IMAGE_SHAPE = (84, 84, 4)
IMAGE_ROWS = 4_000

Call = Callable[[int], Any]


class Bench:
    """Runs comparisons in alternating rounds and reports them."""

    def __init__(self, report: Report, rounds: int, calls: int) -> None:
        self.report = report
        self.rounds = rounds
        self.calls = calls

    def compare(
        self,
        name: str,
        ours: Call,
        peer: Call,
        *,
        bar: float | None = None,
        goal: float | None = None,
        calls: int | None = None,
        after: tuple[Callable[[], Any], Callable[[], Any]] | None = None,
    ) -> Pairs:
        """``ours(i)`` and ``peer(i)`` are one call each, i counts up; ``after`` ends a timed round."""
        calls = self.calls if calls is None else calls

        def round_of(call: Call, end: Callable[[], Any] | None) -> Callable[[], float]:
            firsts = itertools.count(0, calls)

            def run() -> float:
                first = next(firsts)
                started = time.perf_counter()
                for i in range(first, first + calls):
                    call(i)
                if end is not None:
                    end()
                return (time.perf_counter() - started) / calls

            return run

        ends = (None, None) if after is None else after
        pairs = take_turns(self.rounds, round_of(ours, ends[0]), round_of(peer, ends[1]))
        if bar is None:
            self.report.figure(name, pairs.times_faster, "x", pairs.spread, pairs.both)
        else:
            self.report.at_least(name, bar, pairs.times_faster, "x", pairs.spread, pairs.both, goal=goal)
        return pairs


def make_rows(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: (
            rng.random((count, *shape)) < 0.1
            if dtype is np.bool_
            else rng.random((count, *shape), np.float32)
        )
        for name, (shape, dtype) in COLUMNS.items()
    }


def import_cpprb() -> Any:
    """cpprb from its own environment, in this process: it needs NumPy alone, and takes ours."""
    python = peers.peer_python("cpprb", "cpprb==11.0.0")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(str(python.parent.parent / "lib" / version / "site-packages"))
    return import_module("cpprb")


def cpprb_env() -> dict[str, dict[str, Any]]:
    return {name: {"shape": shape or 1, "dtype": dtype} for name, (shape, dtype) in COLUMNS.items()}


def our_schema() -> Schema:
    return Schema({name: (shape, dtype) for name, (shape, dtype) in COLUMNS.items()})


def fill(ours: ReplayBuffer, peer: Any, rows: int, rng: np.random.Generator) -> None:
    step = 10_000
    for _ in range(0, rows, step):
        block = make_rows(step, rng)
        ours.add_batch(block)
        peer.add(**block)


def compare_prioritized(
    bench: Bench, cpprb: Any, rows: int, bars: dict[str, tuple[float | None, float | None]]
) -> Pairs:
    """Returns the times of the sample."""
    rng = np.random.default_rng(0)
    ours = PrioritizedReplayBuffer(our_schema(), rows, alpha=0.6, seed=0)
    peer = cpprb.PrioritizedReplayBuffer(rows, cpprb_env(), alpha=0.6)
    fill(ours, peer, rows, rng)
    # Priorities spread over three decades, the same on both sides.
    step = 10_000
    handles = np.concatenate([ours.add_batch(make_rows(step, rng)) for _ in range(0, rows, step)])
    for start in range(0, rows, step):
        values = 10.0 ** rng.uniform(-2, 1, step)
        ours.update_priorities(handles[start : start + step], values)
        peer.update_priorities(np.arange(start, start + step), values)

    def label(what: str) -> str:
        return f"{what}, {rows:,} rows"

    bar, goal = bars["sample"]
    samples = bench.compare(
        label("prioritized sample"),
        lambda i: ours.sample(BATCH, beta=0.4).weights,
        lambda i: peer.sample(BATCH, beta=0.4)["weights"],
        bar=bar,
        goal=goal,
    )
    total = (bench.rounds + 1) * bench.calls
    picked = rng.integers(0, rows, (total, BATCH))
    fresh = 10.0 ** rng.uniform(-2, 1, (total, BATCH))
    picked_handles = handles[picked]
    bar, goal = bars["update"]
    bench.compare(
        label("priority update"),
        lambda i: ours.update_priorities(picked_handles[i], fresh[i]),
        lambda i: peer.update_priorities(picked[i], fresh[i]),
        bar=bar,
        goal=goal,
    )
    return samples


def compare_uniform(bench: Bench, cpprb: Any, rows: int) -> None:
    rng = np.random.default_rng(0)
    ours = ReplayBuffer(our_schema(), rows, seed=0)
    peer = cpprb.ReplayBuffer(rows, cpprb_env())
    fill(ours, peer, rows, rng)
    bench.compare(
        f"uniform sample, {rows:,} rows",
        lambda i: ours.sample(BATCH),
        lambda i: peer.sample(BATCH),
        bar=2.0,
        goal=3.0,
    )


def compare_adds(bench: Bench, cpprb: Any, rows: int) -> None:
    rng = np.random.default_rng(0)
    blocks = [make_rows(64, rng) for _ in range(200)]
    singles = [{name: column[k] for name, column in block.items()} for block in blocks for k in range(8)]
    for kind in ("prioritized", "uniform"):
        ours: ReplayBuffer
        if kind == "prioritized":
            ours = PrioritizedReplayBuffer(our_schema(), rows, seed=0)
            peer = cpprb.PrioritizedReplayBuffer(rows, cpprb_env(), alpha=0.6)
            after = (ours.priority_stats, lambda: None)  # new rows enter our tree late: make them
        else:
            ours = ReplayBuffer(our_schema(), rows, seed=0)
            peer = cpprb.ReplayBuffer(rows, cpprb_env())
            after = (lambda: None, lambda: None)
        fill(ours, peer, rows, rng)
        barred = kind == "prioritized"
        bench.compare(
            f"add 64 rows, {kind}",
            lambda i, ours=ours: ours.add_batch(blocks[i % len(blocks)]),
            lambda i, peer=peer: peer.add(**blocks[i % len(blocks)]),
            bar=2.0 if barred else None,
            after=after,
        )
        bench.compare(
            f"add one row, {kind}",
            lambda i, ours=ours: ours.add(**singles[i % len(singles)]),
            lambda i, peer=peer: peer.add(**singles[i % len(singles)]),
            bar=3.0 if barred else None,
            after=after,
            calls=4 * bench.calls,
        )


def compare_images(bench: Bench, cpprb: Any) -> None:
    rng = np.random.default_rng(0)
    ours = ReplayBuffer(Schema({"obs": (IMAGE_SHAPE, np.uint8)}), IMAGE_ROWS, seed=0)
    peer = cpprb.ReplayBuffer(IMAGE_ROWS, {"obs": {"shape": IMAGE_SHAPE, "dtype": np.uint8}})
    for _ in range(0, IMAGE_ROWS, 500):
        block = rng.integers(0, 256, (500, *IMAGE_SHAPE), dtype=np.uint8)
        ours.add_batch({"obs": block})
        peer.add(obs=block)
    found = ours.sample(BATCH)
    if not np.array_equal(found["obs"], ours.read(found.handles)[0]["obs"]):
        bench.report.fail("sampled images are not those of their handles")
    cores = sorted(os.sched_getaffinity(0))
    calls = max(10, bench.calls // 10)
    column = np.empty((IMAGE_ROWS, *IMAGE_SHAPE), np.uint8)
    column[:] = 1
    for count, bar in ((1, 0.95), (2, 1.3)):
        if len(cores) < count:
            print(f"84x84x4 uint8 on {count} cores: not measured, this process has {len(cores)}")
            continue
        with on_cores(cores[:count]), closing(Copying(column, count)) as copying:
            bench.compare(
                f"84x84x4 uint8 sample, {count} core{'s' if count > 1 else ''}",
                lambda i: ours.sample(BATCH),
                lambda i: peer.sample(BATCH),
                bar=bar,
                calls=calls,
            )
            bench.compare(
                f"floor: as many bytes copied in one piece, {count} core{'s' if count > 1 else ''}",
                copying,
                lambda i: peer.sample(BATCH),
                calls=calls,
            )


class Copying:
    """Copies as many bytes as a batch has from one place of an array to one output, by several threads
    that stand ready: nothing that gathers rows is faster."""

    def __init__(self, column: NDArray[np.uint8], threads: int) -> None:
        self._column = column
        self._out = np.empty((BATCH, *column.shape[1:]), np.uint8)
        self._share = BATCH // threads
        self._pool = [ThreadPoolExecutor(1) for _ in range(threads - 1)]

    def __call__(self, i: int) -> None:
        first = i * 7 * BATCH % (len(self._column) - BATCH)
        share = self._share
        helpers = [
            pool.submit(self._copy, first, number * share, share)
            for number, pool in enumerate(self._pool, start=1)
        ]
        self._copy(first, 0, share)
        for helper in helpers:
            helper.result()

    def _copy(self, first: int, begin: int, rows: int) -> None:
        np.copyto(self._out[begin : begin + rows], self._column[first + begin : first + begin + rows])

    def close(self) -> None:
        for pool in self._pool:
            pool.shutdown()


@contextmanager
def on_cores(cores: list[int]) -> Iterator[None]:
    """Pin every thread of this process to ``cores`` for a while."""
    before = os.sched_getaffinity(0)
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    for thread in threads:
        os.sched_setaffinity(thread, cores)
    try:
        yield
    finally:
        for path in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(path.name), before)


_FIRST_CALL = """
import sys, time
import memories.replay as replay
assert "numba" not in sys.modules, "importing memories.replay imported numba"
buffer = replay.PrioritizedReplayBuffer(capacity=1000, seed=0)
buffer.add_batch({"x": list(range(100))})
started = time.perf_counter()
buffer.sample(8)
print(time.perf_counter() - started)
"""


def first_calls(report: Report) -> None:
    """Seconds that the first prioritized sample of a process takes: with nothing compiled, and after."""
    with tempfile.TemporaryDirectory() as cache:
        for state, bar in (("never compiled", 12.0), ("compiled before", 1.0)):
            env = {**os.environ, "NUMBA_CACHE_DIR": cache}
            run = subprocess.run(
                [sys.executable, "-c", _FIRST_CALL], env=env, capture_output=True, text=True, check=True
            )
            report.at_most(f"first prioritized call, {state}", bar, float(run.stdout), "s")


def report_torchrl(report: Report) -> None:
    """TorchRL's figures for the same rows, from a process of its own; no bar depends on them."""
    try:
        python = peers.peer_python("torchrl", "torchrl==0.14.0")
        script = Path(__file__).with_name("replay_torchrl.py")
        run = subprocess.run([python, script], capture_output=True, text=True, check=True, timeout=600)
    except (peers.PeerUnavailable, subprocess.CalledProcessError) as error:
        print(f"TorchRL: not measured: {getattr(error, 'stderr', None) or error}"[:600])
        return
    figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    for name, value in figures.items():
        if isinstance(value, str):
            print(f"TorchRL {name}: {value}")
        else:
            report.figure(f"TorchRL: {name}", value, "us")


def main() -> int:
    parser = options_of(__doc__, "fewer rounds, and no buffer of a million rows")
    parser.add_argument("--torchrl", action="store_true", help="print TorchRL's figures beside (installs it)")
    args = parser.parse_args()
    try:
        cpprb = import_cpprb()
    except (peers.PeerUnavailable, ImportError) as error:
        print(f"cpprb is not here, nothing to compare with: {error}", file=sys.stderr)
        return 2

    report = Report("replay_local")
    bench = Bench(report, rounds=7 if args.quick else 21, calls=100)
    few = compare_prioritized(bench, cpprb, 100_000, {"sample": (3.0, 4.0), "update": (1.0, None)})
    if not args.quick:
        many = compare_prioritized(bench, cpprb, 1_000_000, {"sample": (None, None), "update": (0.5, 1.0)})
        growth = statistics.median(many.ours_s) / statistics.median(few.ours_s)
        report.at_most("prioritized sample, a million rows against 100,000", 2, growth)
    compare_uniform(bench, cpprb, 100_000)
    compare_adds(bench, cpprb, 100_000)
    compare_images(bench, cpprb)
    first_calls(report)
    if args.torchrl:
        report_torchrl(report)
    return report.finish(args.json)


if __name__ == "__main__":
    sys.exit(main())
