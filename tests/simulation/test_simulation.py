"""The whole cluster in one process, through every fault, from a seed.

To replay a seed that failed: ``run_seed(seed, events)`` does the same, message by message, and its failure
carries the trace.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from .scenario import run_seed

DIGEST = """
import hashlib, sys
from tests.simulation.scenario import run_seed
world = run_seed(int(sys.argv[1]), 60, trace=True)
lines = [line for line in world.network.lines if " object at 0x" not in line]
print(hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


def run_seeds(first: int, count: int, events: int) -> None:
    checks = guesses = 0
    for seed in range(first, first + count):
        world = run_seed(seed, events)
        checks += world.oracle.checks
        guesses += sum(client.right_guesses for client in world.clients.values())
    assert checks > count * events / 4  # an oracle that never looks would find nothing
    assert guesses > count  # nor would clients whose guesses are never right


def test_100_seeds(seeds: int | None) -> None:
    run_seeds(0, seeds or 100, 200)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_600_seeds(seeds: int | None) -> None:
    run_seeds(10_000, seeds or 600, 300)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_2000_seeds(seeds: int | None) -> None:
    run_seeds(20_000, seeds or 2000, 300)


@pytest.mark.parametrize("seed", [48, 470, 1276, 10_061, 10_593, 30_153])
def test_seeds_that_have_found_something(seed: int) -> None:
    """48: a repeated store put the rest of its keys under the version of those that an earlier coordinator
    had stored. 10,593 and 10,061: a store, and a delete, that came after a later one of its client was said
    to be outdone before that one was safe. 1,276: a store said that it had changed nothing when the copy was
    lost that had replaced the old one. 470 and 30,153: a copy, and a value that was taken back, had replaced
    a mark that nobody wrote again, and an older value came back, or nothing.
    """
    run_seed(seed, 300)


def test_a_seed_replays_exactly_in_another_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, "7"], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert digests != {hashlib.sha256(b"").hexdigest() + "\n"}
