"""`Traffic`: writers and readers that go on while things break, and note what they are told."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from memories.actors.memory_manager import MemoryManager
from memories.errors import DeadlineExceeded, KeyNotFound, ValueLost
from tests.support.ledger import Ledger

TIMEOUT_S = 30.0
GRACE_S = 3.0
"""What a call may take beyond its deadline on a busy machine."""

KINDS: dict[str, dict[str, Any]] = {
    "two-small": {"replicas": 2, "length": 50},
    "two-large": {"replicas": 2, "length": 20_000},
    "durable-small": {"durable": True, "length": 50},
    "durable-large": {"durable": True, "length": 20_000},
    "two-durable": {"replicas": 2, "durable": True, "length": 1_000},
    "two-cold": {"replicas": 2, "tier": "cold", "length": 1_000},
    "one": {"length": 50},
}
"""How keys are stored, by the part of the key before the slash. Only "one" promises nothing after a loss."""


class Traffic:
    """Use as a context manager: it writes and reads inside. Afterwards look at `ledger.violations`."""

    def __init__(self, memory: MemoryManager, seed: int, *, writers: int = 3, readers: int = 2) -> None:
        self.memory = memory
        self.ledger = Ledger()
        self.slowest_s = 0.0
        self._seed = seed
        self._stop = threading.Event()
        self._tokens = itertools.count(1)
        self._keys = [
            [f"{kind}/{writer}.{i}" for kind in KINDS for i in range(6)] for writer in range(writers)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(self._write, number), name=f"writer-{number}")
            for number in range(writers)
        ] + [
            threading.Thread(target=self._run, args=(self._read, number), name=f"reader-{number}")
            for number in range(readers)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
            if thread.is_alive():
                self.ledger.violate(f"{thread.name} hangs")

    def pause(self, seconds: float) -> None:
        """Let the traffic go on for a while."""
        self._stop.wait(seconds)

    def promised(self) -> dict[str, int]:
        """Keys whose value must be there, with its token."""
        return {key: token for key, token in self.ledger.certain().items() if not key.startswith("one/")}

    def check(self) -> None:
        """Fail with every promise that was broken so far."""
        assert not self.ledger.violations, "\n".join(self.ledger.violations)

    def check_everything(self) -> None:
        """Read every key that was ever written, once."""
        for key in itertools.chain(*self._keys):
            self._read_one(key)

    def _run(self, act: Callable[[int, random.Random], None], number: int) -> None:
        draw = random.Random(f"{self._seed}/{act.__name__}/{number}")
        while not self._stop.is_set():
            try:
                act(number, draw)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
                self.ledger.violate(f"{threading.current_thread().name}: {type(error).__name__}: {error}")
            self._stop.wait(0.01)

    def _timed(self, what: str, call: Callable[[], Any]) -> Any:
        begun_s = time.monotonic()
        try:
            return call()
        finally:
            took_s = time.monotonic() - begun_s
            self.slowest_s = max(self.slowest_s, took_s)
            if took_s > TIMEOUT_S + GRACE_S:
                self.ledger.violate(f"{what} took {took_s:.1f} s, its deadline was {TIMEOUT_S:g} s")

    def _write(self, number: int, draw: random.Random) -> None:
        key = draw.choice(self._keys[number])
        if draw.random() < 0.15:
            operation = self.ledger.begin(key, None)
            call = lambda: self.memory.delete(key, timeout_s=TIMEOUT_S)  # noqa: E731
        else:
            operation = self.ledger.begin(key, next(self._tokens))
            options = dict(KINDS[key.partition("/")[0]])
            value = np.full(options.pop("length"), operation.token)
            call = lambda: self.memory.store(key, value, timeout_s=TIMEOUT_S, **options)  # noqa: E731
        try:
            self._timed(f"writing {key}", call)
        except DeadlineExceeded:
            self.ledger.leave_open(operation)
        except BaseException:
            self.ledger.leave_open(operation)
            raise
        else:
            self.ledger.acknowledge(operation)

    def _read(self, number: int, draw: random.Random) -> None:
        if draw.random() < 0.1:
            kind = draw.choice(list(KINDS))
            self._timed("listing", lambda: self.memory.keys(f"{kind}/"))
        else:
            self._read_one(draw.choice(draw.choice(self._keys)))

    def _read_one(self, key: str) -> None:
        possible = self.ledger.begin_read(key)
        found: int | str | None
        try:
            value = self._timed(f"reading {key}", lambda: self.memory.retrieve(key, timeout_s=TIMEOUT_S))
        except KeyNotFound:
            found = None
        except DeadlineExceeded:
            self.ledger.abandon_read(key, possible)
            return
        except ValueLost:
            if key.startswith("one/"):
                self.ledger.abandon_read(key, possible)
                return
            found = "ValueLost"
        except BaseException:
            self.ledger.abandon_read(key, possible)
            raise
        else:
            same = value.size == KINDS[key.partition("/")[0]]["length"] and (value == value[0]).all()
            found = int(value[0]) if same else f"wrong bytes: {value[:3]}..."
        self.ledger.end_read(key, possible, found)
