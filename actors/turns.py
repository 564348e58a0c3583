"""`Turns`: names and numbers for requests that change keys.

A key remembers of each client the highest number that has changed it, and whatever comes later with a lower
one is taken for a repetition. Requests that run at the same time may arrive in any order. So no two of them
share a name: each has one to itself while it runs, under which numbers arrive as they were given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .core.model import RequestId


class Turns:
    """As many names as requests have run at the same time; one thread always has the same. Thread-safe."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._free: list[tuple[str, int]] = []
        self._names = 0
        self._lock = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[RequestId]:
        """The id of a request that begins now. What had no answer in time may still arrive after the next
        one of its name, and then changes nothing."""
        with self._lock:
            if self._free:
                name, last = self._free.pop()
            else:
                name, last = f"{self._client}.{self._names}", 0
                self._names += 1
        try:
            yield RequestId(name, last + 1)
        finally:
            with self._lock:
                self._free.append((name, last + 1))
