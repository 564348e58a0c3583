"""Glacier memory on S3 beside plain boto3, against a SeaweedFS server on this machine.

    python -m benchmarks.tiers_s3 [--quick] [--json FILE]

A float32 array of 64 MB is stored and retrieved, encryption off, checksums verified; boto3 moves the same
bytes with `upload_fileobj` and `download_fileobj` in their defaults. The two take turns, each on fresh
keys, and a ratio is the median over pairs of (their time / our time): above 1 we are faster. Peak memory
is the growth of the resident set (VmHWM) in a process of its own, the value included, over the size of
the value.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memories.tiers.glacier_memory import GlacierMemory
from tests.support.object_servers import SeaweedFS

MB = 2**20


@dataclass(frozen=True)
class Row:
    """One figure and its bar; `bar` None: shown, not judged."""

    name: str
    measured: float
    unit: str
    bar: str | None
    met: bool | None
    detail: str = ""

    def __str__(self) -> str:
        verdict = "" if self.met is None else ("met" if self.met else "NOT MET")
        figure = f"{self.measured:>8.2f} {self.unit:<3}{self.bar or '':>10}"
        return f"{self.name:<48}{figure}  {verdict:<8}{self.detail}"


def seconds(call: Callable[[], Any]) -> float:
    """How long one call takes, with the collector out of the way."""
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    call()
    taken = time.perf_counter() - start
    gc.enable()
    return taken


def pairs_of(
    ours: Callable[[int], Any], theirs: Callable[[int], Any], count: int
) -> tuple[list[float], list[float]]:
    """Times of both, taking turns; who goes first alternates."""
    ours(-1)
    theirs(-1)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(count):
        order = [(0, ours), (1, theirs)]
        for side, call in order if number % 2 else reversed(order):
            times[side].append(seconds(lambda call=call, number=number: call(number)))  # type: ignore[misc]
    return times


def ratio_row(name: str, times: tuple[list[float], list[float]], bar: float | None) -> Row:
    """The median of the pairs' ratios, with the spread."""
    ratios = sorted(theirs / ours for ours, theirs in zip(*times, strict=True))
    middle = statistics.median(ratios)
    detail = (
        f"ours {statistics.median(times[0]) * 1e3:.0f} ms, boto3 {statistics.median(times[1]) * 1e3:.0f} ms, "
        f"ratios {ratios[0]:.2f} to {ratios[-1]:.2f}, {len(ratios)} pairs"
    )
    met = None if bar is None else middle >= bar
    return Row(name, middle, "x", None if bar is None else f">= {bar}", met, detail)


def compare(server: SeaweedFS, size_mb: int, count: int, bar: float | None) -> list[Row]:
    """Put and get, ours beside boto3."""
    array = np.random.default_rng(0).random(size_mb * MB // 4, dtype=np.float32)
    raw = array.tobytes()
    client = server.client()
    rows = []
    with GlacierMemory("s3", server.config) as memory:
        put_ours = lambda n: memory.store(f"put-{n}", array)  # noqa: E731
        put_theirs = lambda n: client.upload_fileobj(io.BytesIO(raw), server.bucket, f"raw-{n}")  # noqa: E731
        rows.append(
            ratio_row(f"put {size_mb} MB, beside upload_fileobj", pairs_of(put_ours, put_theirs, count), bar)
        )
        for number in range(count):
            memory.delete(f"put-{number}")
            client.delete_object(Bucket=server.bucket, Key=f"raw-{number}")

        def get_theirs(_: int) -> None:
            client.download_fileobj(server.bucket, "raw--1", io.BytesIO())

        get_ours = lambda _: memory.retrieve("put--1")  # noqa: E731
        rows.append(
            ratio_row(
                f"get {size_mb} MB, beside download_fileobj", pairs_of(get_ours, get_theirs, count), bar
            )
        )
        assert np.array_equal(memory.retrieve("put--1"), array)
        memory.delete("put--1")
    client.delete_object(Bucket=server.bucket, Key="raw--1")
    client.close()
    return rows


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


def peak_row(config: dict[str, Any], size_mb: int, what: str, label: str, bar: float | None) -> Row:
    """Peak memory of a put or get over the size of the value."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=_peak, args=(config, size_mb, what, results))
    child.start()
    growth = results.get(timeout=120)
    child.join()
    measured = growth / (size_mb * MB)
    met = None if bar is None else measured < bar
    detail = f"{growth / MB:.0f} MB for a value of {size_mb} MB"
    return Row(
        f"peak memory of a {what}{label}", measured, "x", None if bar is None else f"< {bar}", met, detail
    )


def main() -> int:
    """Run and print everything; the exit code says whether all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="24 MB, few pairs, nothing judged")
    parser.add_argument("--json", type=Path, help="write the rows there as well")
    arguments = parser.parse_args()
    size_mb, count = (24, 3) if arguments.quick else (64, 15)
    speed, memory = (None, None) if arguments.quick else (0.9, 2.0)
    with SeaweedFS() as server:
        rows = compare(server, size_mb, count, speed)
        for row in rows:
            print(row, flush=True)
        sealed = {**server.config, "encryption_key": "5a" * 32, "compression": "zstd"}
        for config, label in ((server.config, ""), (sealed, ", encrypted and compressed")):
            for what in ("put", "get"):
                rows.append(peak_row(config, size_mb, what, label, memory))
                print(rows[-1], flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
