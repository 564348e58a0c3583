"""A live cluster in a process of its own, for tests that look at one from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Live:
    """Where it is."""

    address: str
    name: str


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """See `tests/support/live_cluster.py` for what it holds."""
    name = request.module.__name__.rpartition(".")[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.live_cluster", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        started = json.loads(process.stdout.readline())
        yield Live(started["address"], started["name"])
    finally:
        process.stdin.close()
        process.wait(60)
