"""Atari-shaped rows with and without `ImageStorage`: bytes of RAM, and the time of adds and samples.

    python -m benchmarks.replay_frames [--quick] [--rows N] [--json FILE]

Rows are stacks of four 84x84 frames (obs and next_obs) of four interleaved games whose episodes last 200
steps. Frames are noise: nothing but their repetition can be saved, and LZ4 cannot help (of real games it
makes a fraction). Every variant fills a buffer in a process of its own, so that its RAM is the growth of
that process; one naive row has 8 frames.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.bars import Report, options_of

VARIANTS = ("plain", "frames", "lz4")
FRAME = (84, 84)
NAIVE_ROW_BYTES = 8 * 84 * 84
NUM_ENVS = 4
EPISODE = 200
BATCH = 256


def steps(count: int, seed: int = 0) -> Any:
    """Batches of one row for each game."""
    rng = np.random.default_rng(seed)
    stacks = np.zeros((NUM_ENVS, 4, *FRAME), np.uint8)
    for t in range(count):
        if t % EPISODE == 0:
            stacks = np.repeat(rng.integers(0, 256, (NUM_ENVS, 1, *FRAME), np.uint8), 4, axis=1)
        fresh = rng.integers(0, 256, (NUM_ENVS, 1, *FRAME), np.uint8)
        after = np.concatenate([stacks[:, 1:], fresh], axis=1)
        yield {"obs": stacks, "action": np.zeros(NUM_ENVS, np.int64), "next_obs": after}
        stacks = after


def measure(variant: str, rows: int) -> dict[str, float]:
    """Fill a buffer twice over, then sample; runs in a process of its own."""
    import psutil

    from memories.replay import ImageStorage, ReplayBuffer, Schema

    images = {"plain": None, "frames": ImageStorage(), "lz4": ImageStorage(compression="lz4")}[variant]
    schema = Schema({"obs": ((4, *FRAME), np.uint8), "action": np.int64, "next_obs": ((4, *FRAME), np.uint8)})
    buffer = ReplayBuffer(schema, rows, images=images, seed=0)
    warm = ReplayBuffer(schema, 8, images=images)
    for batch in steps(4):
        warm.add_batch(batch)
    warm.sample(4)
    before = psutil.Process().memory_info().rss
    adding_s = 0.0
    for batch in steps(2 * rows // NUM_ENVS, seed=1):
        started = time.perf_counter()
        buffer.add_batch(batch)
        adding_s += time.perf_counter() - started
    grown = psutil.Process().memory_info().rss - before
    times = []
    for _ in range(20):
        started = time.perf_counter()
        buffer.sample(BATCH)
        times.append(time.perf_counter() - started)
    return {
        "share": grown / (rows * NAIVE_ROW_BYTES),
        "add_us": 1e6 * adding_s / (2 * rows),
        "sample_ms": 1e3 * float(np.median(times)),
    }


def measure_apart(variant: str, rows: int) -> dict[str, float]:
    """`measure` in a fresh process."""
    code = (
        "import json; from benchmarks.replay_frames import measure; "
        f"print(json.dumps(measure({variant!r}, {rows})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = options_of(__doc__, "two thousand rows")
    parser.add_argument("--rows", type=int, default=10_000)
    chosen = parser.parse_args()
    report = Report("replay_frames")
    for variant in VARIANTS:
        result = measure_apart(variant, 2_000 if chosen.quick else chosen.rows)
        detail = f"add {result['add_us']:.1f} us a row, sample of {BATCH} {result['sample_ms']:.2f} ms"
        if variant == "frames":
            report.at_most("frames stored once: of the naive bytes", 0.3, result["share"], "x", detail=detail)
        else:
            report.figure(f"{variant}: of the naive bytes", result["share"], "x", detail=detail)
    return report.finish(chosen.json)


if __name__ == "__main__":
    sys.exit(main())
