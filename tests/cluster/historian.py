"""`Historian`: one of the clients of the linearizability test; records what its threads did, and when.

As a program (``python historian.py '<json>'``) it is a driver of its own; as a Ray actor it is one of many.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memories.actors.cluster import connect
from memories.errors import CapacityExceeded, DeadlineExceeded, KeyNotFound, NotEnoughNodes
from tests.support.linearizable import UNKNOWN, Operation

TIMEOUT_S = 30.0
LARGE = 20_000
"""So many numbers in a large value, which travels through shared memory."""


@dataclass(frozen=True)
class Task:
    """What one client does."""

    cluster: str
    address: str
    name: int
    threads: int
    keys: int
    seed: int


class Historian:
    """Connects when it is made; `run` works until the end and returns what was done to each key.

    Times are those of the machine's monotonic clock, which all its processes share.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._cluster = connect(task.address, name=task.cluster)
        self._memory = self._cluster.memory(timeout_s=TIMEOUT_S)
        self._done: list[tuple[str, Operation]] = []
        self._errors: list[str] = []

    def ready(self) -> bool:
        """Answers when it is connected."""
        return True

    def run(self, begin_s: float, end_s: float) -> tuple[list[tuple[str, Operation]], list[str]]:
        threads = [
            threading.Thread(target=self._work, args=(number, begin_s, end_s), daemon=True)
            for number in range(self._task.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()) + 2 * TIMEOUT_S)
            if thread.is_alive():
                self._errors.append(f"a thread of client {self._task.name} hangs")
        return self._done, self._errors

    def close(self) -> None:
        self._cluster.close()

    def _work(self, number: int, begin_s: float, end_s: float) -> None:
        task = self._task
        draw = random.Random(f"{task.seed}/{task.name}/{number}")
        # A number that nobody else writes.
        tokens = iter(range((task.name * 1_000 + number) * 1_000_000 + 1, 1 << 62))
        threading.Event().wait(max(0.0, begin_s - time.monotonic()))
        while time.monotonic() < end_s:
            key = f"lin/{draw.randrange(task.keys)}"
            try:
                self._step(key, draw, tokens)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
                self._errors.append(f"{key}: {type(error).__name__}: {error}")

    def _step(self, key: str, draw: random.Random, tokens: Any) -> None:
        act = draw.choices(["write", "read", "delete"], [4, 5, 1])[0]
        called_s = time.monotonic()
        value: int | None = None
        existed: bool | None = None
        returned_s = UNKNOWN
        try:
            if act == "write":
                value = next(tokens)
                self._memory.store(
                    key,
                    np.full(LARGE if draw.random() < 0.05 else 8, value),
                    tier=draw.choices([None, "hot", "cold"], [8, 1, 1])[0],
                )
            elif act == "read":
                value = _token(self._memory.retrieve(key))
            else:
                existed = self._memory.delete(key)
            returned_s = time.monotonic()
        except KeyNotFound:
            returned_s = time.monotonic()
        except (CapacityExceeded, NotEnoughNodes):
            return  # nothing was changed
        except DeadlineExceeded:
            pass
        who = f"client {self._task.name}"
        self._done.append((key, Operation(act, called_s, returned_s, value, existed, who)))


def _token(value: Any) -> int:
    assert value.size in (8, LARGE), value.shape
    assert (value == value[0]).all(), "the value is torn"
    return int(value[0])


def main() -> None:
    """Says when it is connected, is told from when to when to work, and leaves its history in a file."""
    historian = Historian(Task(**json.loads(sys.argv[1])))
    print("ready", flush=True)
    begin_s, end_s = json.loads(sys.stdin.readline())
    Path(sys.argv[2]).write_bytes(pickle.dumps(historian.run(begin_s, end_s)))
    historian.close()


def command(task: Task, path: Path) -> list[str]:
    """How to run a client as a program."""
    return [sys.executable, "-m", "tests.cluster.historian", json.dumps(asdict(task)), str(path)]


if __name__ == "__main__":
    main()
