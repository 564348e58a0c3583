"""`RecentValues`: small values that this process has read, for readers who accept a bounded staleness.

A value is as old as the moment before its location was asked for. What the process itself writes or deletes
leaves at once, and a read that began before the write does not bring it back.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

CAPACITY_BYTES = 64 << 20
MAX_VALUE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Recent:
    """How to make the value (each reader gets its own, writable or not), when it was current, its size."""

    make: Callable[[bool], Any]
    current_s: float
    nbytes: int


class RecentValues:
    """Thread-safe. The clock is the caller's."""

    def __init__(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._values: OrderedDict[str, Recent] = OrderedDict()
        self._used_bytes = 0
        self._writes = 0
        self._lock = threading.Lock()

    def get(self, key: str, oldest_s: float) -> Recent | None:
        """The value, if it was current at `oldest_s` or later."""
        with self._lock:
            recent = self._values.get(key)
            if recent is None or recent.current_s < oldest_s:
                return None
            self._values.move_to_end(key)
            return recent

    @property
    def writes(self) -> int:
        """How often this process has written: to be read before a value is looked up."""
        return self._writes

    def add(self, key: str, recent: Recent, writes_before: int) -> None:
        """Remember a value, unless this process has written anything since it was looked up."""
        if recent.nbytes > MAX_VALUE_BYTES:
            return
        with self._lock:
            if writes_before != self._writes:
                return
            self._drop(key)
            self._values[key] = recent
            self._used_bytes += recent.nbytes
            while self._used_bytes > self._capacity_bytes:
                _, oldest = self._values.popitem(last=False)
                self._used_bytes -= oldest.nbytes

    def written(self, keys: Iterable[str]) -> None:
        """This process is about to write these keys, or has just done so."""
        with self._lock:
            self._writes += 1
            for key in keys:
                self._drop(key)

    def _drop(self, key: str) -> None:
        old = self._values.pop(key, None)
        if old is not None:
            self._used_bytes -= old.nbytes
