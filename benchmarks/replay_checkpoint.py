"""A checkpoint of a million rows while rows are inserted and sampled: what a sampler notices of it.

    python -m benchmarks.replay_checkpoint [--quick] [--json FILE]

A sampler draws single batches, none ahead, and each of its waits is taken; a writer inserts in batches of
64 at a steady pace beside it. Three times the waits of some seconds are taken, and then those during a
checkpoint; the bar is on the median of the three ratios of their 99th percentiles.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.bars import Report, options_of
from benchmarks.replay_cluster import BATCH, COLUMNS, make_rows, own_cluster
from memories.replay import Schema

ROWS, QUICK_ROWS, SHARDS, PAIRS = 1_000_000, 100_000, 2, 3
MOST_TIMES_SLOWER = 3.0
INSERT_PAUSE_S = 0.01
MIN_WAITS = 200


def waits_until(sampler: Any, ended: threading.Event) -> list[float]:
    """How long each batch took, in seconds, until the event; and some more where there were few."""
    waits: list[float] = []
    while not ended.is_set() or len(waits) < MIN_WAITS:
        started_s = time.perf_counter()
        next(sampler)
        waits.append(time.perf_counter() - started_s)
    return waits


def p99(waits: list[float]) -> float:
    return float(np.percentile(waits, 99))


def measure(replay: Any, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """For each pair: p99 before, p99 during, and the seconds of the checkpoint."""
    stop = threading.Event()

    def insert() -> None:
        with replay.writer() as writer:
            while not stop.wait(INSERT_PAUSE_S):
                writer.add_batch(make_rows(64, rng))

    inserting = threading.Thread(target=insert)
    inserting.start()
    found = []
    folder = Path(tempfile.mkdtemp())
    try:
        with replay.sampler(batch_size=BATCH, prefetch=1, batches_a_call=1) as sampler:
            waits_until(sampler, _set())
            for number in range(PAIRS):
                took_s: list[float] = []
                ended = threading.Event()

                def save(number: int = number, took_s: list[float] = took_s, e: Any = ended) -> None:
                    started_s = time.perf_counter()
                    replay.checkpoint(folder / str(number))
                    took_s.append(time.perf_counter() - started_s)
                    e.set()

                before: list[float] = []
                for _ in range(3):
                    before += waits_until(sampler, _set())
                saving = threading.Thread(target=save)
                saving.start()
                during = waits_until(sampler, ended)
                saving.join()
                found.append((p99(before), p99(during), took_s[0]))
                shutil.rmtree(folder / str(number))
    finally:
        stop.set()
        inserting.join()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def main() -> int:
    options = options_of(__doc__).parse_args()
    rows = QUICK_ROWS if options.quick else ROWS
    report = Report("replay_checkpoint", judged=not options.quick)
    rng = np.random.default_rng(0)
    schema = Schema({name: (shape, dtype) for name, (shape, dtype) in COLUMNS.items()})
    with own_cluster() as cluster:
        replay = cluster.replay("saved", schema=schema, kind="prioritized", capacity=rows, shards=SHARDS)
        with replay.writer() as writer:
            for _ in range(0, rows, 10_000):
                writer.add_batch(make_rows(10_000, rng))
        found = measure(replay, rng)
    ratios = [during / before for before, during, _ in found]
    report.at_most(
        f"sampling p99 during a checkpoint of {rows:,} rows, times before", MOST_TIMES_SLOWER,
        median(ratios), "x", (min(ratios), max(ratios)),
        f"{median(f[1] for f in found) * 1e3:.1f} ms beside {median(f[0] for f in found) * 1e3:.1f} ms",
    )  # fmt: skip
    report.figure(f"a checkpoint of {rows:,} rows", median(took_s for _, _, took_s in found), "s")
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
