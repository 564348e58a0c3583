"""`Ledger`: what writers have been told, and what readers may therefore see.

For each key it keeps the operations that may be the last word: those without an answer, and the newest
that was acknowledged. A key has one writer, whose requests the cluster keeps in order.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class Operation:
    """One store (or, without a token, delete). The token is what the value consists of."""

    key: str
    token: int | None
    begun_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    acknowledged: bool = False


class Violation(AssertionError):
    """A promise was broken."""


class Ledger:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._candidates: dict[str, set[Operation]] = {}
        self._reads: dict[str, list[set[Operation]]] = {}
        self.violations: list[str] = []
        self.counts = {"acknowledged": 0, "unknown": 0, "reads": 0}

    def begin(self, key: str, token: int | None) -> Operation:
        """A write has begun: from now on readers may see it."""
        operation = Operation(key, token)
        with self._lock:
            self._possible(key).add(operation)
            for possible in self._reads.get(key, ()):
                possible.add(operation)
        return operation

    def acknowledge(self, operation: Operation) -> None:
        """It is the last word now, unless a later one has begun."""
        with self._lock:
            self.counts["acknowledged"] += 1
            operation.ended_s, operation.acknowledged = time.monotonic(), True
            candidates = self._candidates[operation.key]
            self._candidates[operation.key] = {
                other
                for other in candidates
                if other is operation or other.ended_s is None or other.ended_s >= operation.begun_s
            }

    def leave_open(self, operation: Operation) -> None:
        """Nobody knows what became of it."""
        with self._lock:
            self.counts["unknown"] += 1
            operation.ended_s = time.monotonic()

    def begin_read(self, key: str) -> set[Operation]:
        """What the read may find; more is added while it runs. To be followed by `end_read`."""
        with self._lock:
            possible = set(self._possible(key))
            self._reads.setdefault(key, []).append(possible)
            return possible

    def end_read(self, key: str, possible: set[Operation], found: int | str | None) -> None:
        """`found`: the token, None for an absent key, or a string for what must not be."""
        with self._lock:
            self.counts["reads"] += 1
            reads = self._reads[key]
            position = next(i for i, other in enumerate(reads) if other is possible)
            del reads[position]
            if not any(operation.token == found for operation in possible):
                allowed = sorted(str(operation.token) for operation in possible)
                self.violations.append(f"{key!r}: read {found}, possible were {allowed}")

    def abandon_read(self, key: str, possible: set[Operation]) -> None:
        """The read was not answered."""
        with self._lock:
            reads = self._reads[key]
            del reads[next(i for i, other in enumerate(reads) if other is possible)]

    def violate(self, what: str) -> None:
        """Note that something was wrong."""
        with self._lock:
            self.violations.append(what)

    def certain(self) -> dict[str, int]:
        """Keys that certainly have a value now, with its token."""
        with self._lock:
            found = {}
            for key, candidates in self._candidates.items():
                if len(candidates) == 1:
                    (operation,) = candidates
                    if operation.acknowledged and operation.token is not None:
                        found[key] = operation.token
            return found

    def _possible(self, key: str) -> set[Operation]:
        if key not in self._candidates:
            initial = Operation(key, None, -1.0, -1.0, acknowledged=True)
            self._candidates[key] = {initial}
        return self._candidates[key]
