"""Glacier memory on S3 beside plain boto3, against a SeaweedFS server on this machine.

    python -m benchmarks.tiers_s3 [--quick] [--json FILE]

A float32 array of 64 MB is stored and retrieved, encryption off, checksums verified; boto3 moves the same
bytes with `upload_fileobj` and `download_fileobj` in their defaults. The two take turns, each on fresh
keys, and a ratio is the median over pairs of (their time / our time): above 1 we are faster. Peak memory
is the growth of the resident set (VmHWM) in a process of its own, the value included, over the size of
the value.
"""

from __future__ import annotations

import gc
import io
import itertools
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import Report, options_of
from benchmarks.pairs import Pairs, take_turns
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.object_servers import SeaweedFS

MB = 2**20


def seconds(call: Callable[[], Any]) -> float:
    """How long one call takes, with the collector out of the way."""
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    call()
    taken = time.perf_counter() - start
    gc.enable()
    return taken


def pairs_of(ours: Callable[[int], Any], theirs: Callable[[int], Any], count: int) -> Pairs:
    """Both take turns, each call with a number of its own; -1 comes first and stays."""
    mine, others = itertools.count(-1), itertools.count(-1)
    return take_turns(
        count, lambda: seconds(lambda: ours(next(mine))), lambda: seconds(lambda: theirs(next(others)))
    )


def compare(report: Report, server: SeaweedFS, size_mb: int, count: int) -> None:
    """Put and get, ours beside boto3."""
    array = np.random.default_rng(0).random(size_mb * MB // 4, dtype=np.float32)
    raw = array.tobytes()
    client = server.client()
    with GlacierMemory("s3", server.config) as memory:

        def get_theirs(_: int) -> None:
            client.download_fileobj(server.bucket, "raw--1", io.BytesIO())

        puts = pairs_of(
            lambda n: memory.store(f"put-{n}", array),
            lambda n: client.upload_fileobj(io.BytesIO(raw), server.bucket, f"raw-{n}"),
            count,
        )
        report.at_least(
            f"put {size_mb} MB: speed of upload_fileobj", 0.9, puts.times_faster, "x", puts.spread, puts.both
        )
        for number in range(count):
            memory.delete(f"put-{number}")
            client.delete_object(Bucket=server.bucket, Key=f"raw-{number}")
        gets = pairs_of(lambda _: memory.retrieve("put--1"), get_theirs, count)
        report.at_least(
            f"get {size_mb} MB: speed of download_fileobj",
            0.9,
            gets.times_faster,
            "x",
            gets.spread,
            gets.both,
        )
        if not np.array_equal(memory.retrieve("put--1"), array):
            report.fail("the array did not come back as it was")
        memory.delete("put--1")
    client.delete_object(Bucket=server.bucket, Key="raw--1")
    client.close()


# Memory -----------------------------------------------------------------------------------------------


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def peak_growth(call: Callable[[], Any]) -> int:
    """By how much the resident set grows at most during a call."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from VmRSS
    before = resident("VmRSS")
    kept = call()
    growth = resident("VmHWM") - before
    del kept
    return growth


def _peak(config: dict[str, Any], size_mb: int, what: str, results: Any) -> None:
    """In a process of its own: grow by one put or one get, libraries and connections being there already."""
    with GlacierMemory("s3", config) as memory:
        warm = np.zeros(20 * MB, np.uint8)
        memory.store("warm", warm)
        memory.retrieve("warm")
        memory.delete("warm")

        def put() -> Any:
            array = np.random.default_rng(0).random(size_mb * MB // 4, dtype=np.float32)
            memory.store("peak", array)
            return array

        results.put(peak_growth(put if what == "put" else lambda: memory.retrieve("peak")))


def peak_bar(report: Report, config: dict[str, Any], size_mb: int, what: str, label: str) -> None:
    """Peak memory of a put or get over the size of the value."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=_peak, args=(config, size_mb, what, results))
    child.start()
    growth = results.get(timeout=120)
    child.join()
    detail = f"{growth / MB:.0f} MB for a value of {size_mb} MB"
    report.at_most(f"peak memory of a {what}{label}", 2, growth / (size_mb * MB), "x", detail=detail)


def main() -> int:
    """Run and print everything; the exit code says whether all bars are met."""
    options = options_of(__doc__, "24 MB, few pairs, nothing judged").parse_args()
    size_mb, count = (24, 3) if options.quick else (64, 15)
    report = Report("tiers_s3", judged=not options.quick)
    with SeaweedFS() as server:
        compare(report, server, size_mb, count)
        sealed = {**server.config, "encryption_key": "5a" * 32, "compression": "zstd"}
        for config, label in ((server.config, ""), (sealed, ", encrypted and compressed")):
            for what in ("put", "get"):
                peak_bar(report, config, size_mb, what, label)
    return report.finish(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
