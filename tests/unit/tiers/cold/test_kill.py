"""A writer is killed at random moments: every acknowledged key has its acknowledged bytes afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cold_victim import KEYS, content, open_memory

State = dict[str, tuple[int, int] | None]


def killed_writers(folder: Path, rounds: int, seed: int) -> int:
    """Kill `rounds` writers and look at the memory after each; how many changes were acknowledged."""
    journal = folder / "journal"
    generator = random.Random(seed)
    state: State = {}
    acknowledged = 0
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.cold_victim", str(folder / "cold"), str(journal)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            for number in range(rounds):
                print(seed * 1000 + number, file=server.stdin, flush=True)
                child = int(server.stdout.readline())
                # A slow disk must not end all writers before their first acknowledgement.
                wait_for_lines(journal, generator.choice([0, 4, 12]))
                # Not a wait for something: the moment of the kill is the random input of the test.
                time.sleep(generator.uniform(0, generator.choice([0.01, 0.15])))
                os.kill(child, signal.SIGKILL)
                assert server.stdout.readline() == "ended\n"
                pending, done = replay(journal, state)
                acknowledged += done
                look(folder / "cold", state, pending)
                journal.unlink()
        finally:
            server.stdin.close()
            server.terminate()
    return acknowledged


def wait_for_lines(journal: Path, lines: int) -> None:
    """Until the writer has begun, and has written that much into its journal (two lines a change)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.001)


def replay(journal: Path, state: State) -> tuple[State, int]:
    """Bring the state up to what was acknowledged; returns what had begun and was not, and how many
    changes were."""
    pending: State = {}
    done = 0
    # A last line that is not whole was being written when the kill came: its change had not begun.
    for line in journal.read_bytes().split(b"\n")[:-1]:
        what, *rest = json.loads(line)
        if what == "begin":
            assert not pending
            pending = {key: None if to is None else tuple(to) for key, to in rest[0].items()}
        elif what == "acknowledged":
            state.update(pending)
            pending = {}
            done += 1
    return pending, done


def look(folder: Path, state: State, pending: State) -> None:
    """Every key has its acknowledged value, or the one that was being stored; `state` follows."""
    with open_memory(folder) as memory:
        assert memory.damage == []
        for key in KEYS:
            found: Any = memory.retrieve(key) if memory.exists(key) else None
            allowed = [state.get(key), *([pending[key]] if key in pending else [])]
            values = [None if to is None else content(*to) for to in allowed]
            assert found in values, f"{key!r} has a value that nobody stored last"
            state[key] = allowed[values.index(found)]
        assert set(memory.keys()) == {key for key, to in state.items() if to is not None}


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert killed_writers(tmp_path, rounds=20, seed=1) > 20


@pytest.mark.slow
def test_two_hundred_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert killed_writers(tmp_path, rounds=220, seed=2) > 220
