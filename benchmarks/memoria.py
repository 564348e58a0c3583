"""Memoria against its public implementation, and at 100,000 engrams.

    python -m benchmarks.memoria [--quick] [--json FILE]

One row a bar: what is asked, what was measured, whether it was met. The exit code is 1 if one was not.
Steps are add 64, remind, adjust; B=1, D=256, stm_capacity 256, depth 10, 32 reminded and 32 final. Ours
is filled by such steps, so that every engram has fired. The reference, in a process of its own with the
same torch and the same number of threads, is filled in bulk; its steps and ours are measured in turns.
`--quick` makes everything smaller, to see that it runs: its numbers meet no bar.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the reference's environment, which runs this file too, has no package of ours
    from benchmarks.bars import Report

WORKING, HIDDEN, STM_CAPACITY, DEPTH, REMINDED, FINAL = 64, 256, 256, 10, 32, 32
IMMORTAL = 10**6
REFERENCE = "memoria-pytorch==1.1.0"


@dataclass(frozen=True)
class Sizes:
    """What a run measures; `judged` says whether these are the sizes that the bars are about."""

    small: int
    large: int
    compared_steps: int
    early: int
    full: int
    churn_steps: int
    judged: bool


FULL = Sizes(1_000, 8_000, 7, 10_000, 100_000, 1_200, judged=True)
QUICK = Sizes(500, 1_500, 2, 1_000, 4_000, 80, judged=False)


# -- the steps that are measured: also run inside the reference's process --------------------------------


def new_network(lifespan: int = IMMORTAL) -> Any:
    import memoria

    return memoria.Memoria(REMINDED, STM_CAPACITY, DEPTH, lifespan, FINAL)


def timed_step(network: Any, data: Any, after_remind: Callable[[Any, Any], tuple[Any, Any]]) -> float:
    """Seconds of one step; `after_remind` makes (indices, deltas) of the reminded indices, off the clock."""
    begin = time.perf_counter()
    network.add_working_memory(data)
    _, indices = network.remind()
    thinking = time.perf_counter()
    indices, deltas = after_remind(network, indices)
    thought = time.perf_counter() - thinking
    network.adjust_lifespan_and_memories(indices, deltas)
    return time.perf_counter() - begin - thought


def kept_alive(_network: Any, indices: Any) -> tuple[Any, Any]:
    import torch

    return indices, torch.ones_like(indices, dtype=torch.float32)


def random_data(seed: int) -> Callable[[int], Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return lambda number: torch.rand(1, number, HIDDEN, generator=generator)


def serve_reference() -> None:
    """Fills a network in bulk to the size on the command line, then does one step for each line of input."""
    import torch

    size, threads = int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    network, data = new_network(), random_data(1)
    network.add_working_memory(data(size - WORKING))
    network.adjust_lifespan_and_memories(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0))
    for _ in sys.stdin:
        print(timed_step(network, data(WORKING), kept_alive), flush=True)


# -- comparison ------------------------------------------------------------------------------------------


@contextmanager
def reference_steps(size: int, threads: int) -> Iterator[Callable[[], float]]:
    """A reference network of that size in its own environment; call for the seconds of one more step."""
    from benchmarks.peers import peer_python

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        # -P: this file is named like the package that it is to import.
        [
            peer_python("memoria-pytorch", REFERENCE),
            "-P",
            __file__,
            "serve-reference",
            str(size),
            str(threads),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asks, answers = process.stdin, process.stdout

    def step() -> float:
        asks.write("step\n")
        asks.flush()
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"the reference ended with code {process.wait()} at {size} engrams")
        return float(answer)

    try:
        yield step
    finally:
        asks.close()
        process.wait(timeout=60)


def times_faster(size: int, steps: int) -> tuple[float, float, float]:
    """How many times faster than the reference a step of ours is, and the two medians in seconds."""
    import torch

    network, data = new_network(), random_data(2)
    with reference_steps(size, torch.get_num_threads()) as reference:
        reference()  # the first step pays for what is loaded lazily, here and there
        while network.engrams.memory_length < size:
            timed_step(network, data(WORKING), kept_alive)
        ours, theirs = [], []
        for number in range(steps):
            theirs.append(reference())
            ours.append(timed_step(network, data(WORKING), kept_alive))
            progress(f"{size:,} engrams beside the reference: step {number + 1} of {steps}")
    mine, others = statistics.median(ours), statistics.median(theirs)
    return others / mine, mine, others


# -- many engrams ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScaleResult:
    early_s: float
    full_s: float
    resident_bytes: int
    peak_bytes: int
    slowest_churn_s: float
    squeezes: int
    died: int
    fired_pairs: int


def filled(size: int) -> tuple[Any, Callable[[int], Any]]:
    """A network of ours with that many engrams, all of which have fired, and more data for it."""
    network, data = new_network(), random_data(3)
    while network.engrams.memory_length < size:
        timed_step(network, data(WORKING), kept_alive)
        if network.timestep % 100 == 0:
            progress(f"filling: {network.engrams.memory_length:,} of {size:,} engrams")
    return network, data


def measure_scale(sizes: Sizes) -> ScaleResult:
    """Fills a network to `full` engrams, then lets as many die as are born. Best in a fresh process."""
    import torch

    network, data = filled(sizes.full)
    resident = resident_bytes()
    # Side by side, step by step: both see the same machine, whatever else it does.
    smaller, smaller_data = filled(sizes.early)
    early, full = [], []
    for _ in range(40):
        early.append(timed_step(smaller, smaller_data(WORKING), kept_alive))
        full.append(timed_step(network, data(WORKING), kept_alive))
    early_s, full_s = statistics.median(early), statistics.median(full)
    del smaller

    generator = torch.Generator().manual_seed(4)

    def one_dies_for_each_born(network: Any, indices: Any) -> tuple[Any, Any]:
        """Of the reminded ones nobody; of the others as many as came, drawn from all but the newest."""
        length = network.engrams.memory_length
        doomed = torch.randperm(length - STM_CAPACITY, generator=generator)[: WORKING + REMINDED + FINAL]
        doomed = doomed[~torch.isin(doomed, indices[0])][:WORKING]
        both = torch.cat([indices[0], doomed])[None]
        deltas = torch.cat([torch.ones(indices.shape[1]), torch.full((len(doomed),), -3.0 * IMMORTAL)])[None]
        return both, deltas

    slowest, squeezes, died = 0.0, 0, 0
    for number in range(sizes.churn_steps):
        slots, length = network.engrams.store.slot_count, network.engrams.memory_length
        slowest = max(slowest, timed_step(network, data(WORKING), one_dies_for_each_born))
        squeezes += network.engrams.store.slot_count < slots
        died += length + WORKING - network.engrams.memory_length
        if number % 50 == 49:
            progress(f"dying and being born: step {number + 1} of {sizes.churn_steps}")
    return ScaleResult(
        early_s,
        full_s,
        resident,
        peak_bytes(),
        slowest,
        squeezes,
        died,
        len(network.engrams.cofirings().counts),
    )


def resident_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def peak_bytes() -> int:
    """Of this process only: what it was when the last big thing was done does not count."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def scale_in_fresh_process(sizes: Sizes) -> ScaleResult:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.memoria", "--scale-only", json.dumps(dataclasses.asdict(sizes))],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ScaleResult(**json.loads(result.stdout.splitlines()[-1]))


# -- the report ------------------------------------------------------------------------------------------


def progress(message: str) -> None:
    """One line that overwrites itself; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)


def measure(report: Report, sizes: Sizes) -> None:
    for size, least in ((sizes.small, 4), (sizes.large, 120)):
        ratio, ours, theirs = times_faster(size, sizes.compared_steps)
        both = f"{ours * 1e3:.2f} ms beside {theirs * 1e3:.1f} ms"
        report.at_least(f"step at {size:,} engrams: times the reference", least, ratio, "x", detail=both)
    scale = scale_in_fresh_process(sizes)
    full, gib = f"{sizes.full:,} engrams", 2**30
    report.at_most(f"median step at {full}", 45, scale.full_s * 1e3, "ms", goal=20)
    report.at_most(
        f"resident at {full}",
        1.25,
        scale.resident_bytes / gib,
        "GiB",
        detail=f"{scale.fired_pairs:,} fired pairs",
    )
    report.at_most("peak resident, with growing and compacting", 1.25, scale.peak_bytes / gib, "GiB")
    report.at_most(f"step at {full} / at {sizes.early:,}", 4, scale.full_s / scale.early_s, "x")
    report.at_most(
        f"slowest of {sizes.churn_steps:,} steps while as many die as are born",
        0.6,
        scale.slowest_churn_s,
        "s",
        detail=f"{scale.died:,} died, {scale.squeezes} compactions",
    )
    if sizes.judged and not scale.squeezes:
        report.fail("the graph was never compacted, which the slowest step is about")


def main() -> int:
    from benchmarks.bars import Report, options_of

    parser = options_of(__doc__, "small sizes: shows that it runs, meets no bar")
    parser.add_argument("--scale-only", metavar="SIZES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scale_only:
        scale = measure_scale(Sizes(**json.loads(options.scale_only)))
        print(json.dumps(dataclasses.asdict(scale)))
        return 0
    sizes = QUICK if options.quick else FULL
    report = Report("memoria", judged=sizes.judged)
    measure(report, sizes)
    progress("")
    return report.finish(options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve-reference"]:
        serve_reference()
    else:
        sys.exit(main())
