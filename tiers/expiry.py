"""`Expiry`: which keys end when. Only keys with a time to live cost anything."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Expiry(Generic[K]):
    """Ends of life by key. Thread-safe.

    A heap with lazy deletion: changing or forgetting an end leaves the old entry in the heap, and it is
    dropped when it surfaces, or all at once when stale entries outnumber the live ones.
    """

    def __init__(self) -> None:
        self._ends: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # the number keeps keys from being compared
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, key: K, expires_s: float | None) -> None:
        """Record when the key ends, or that it does not."""
        with self._lock:
            if expires_s is None:
                self._ends.pop(key, None)
                return
            self._ends[key] = expires_s
            self._count += 1
            heapq.heappush(self._heap, (expires_s, self._count, key))
            if len(self._heap) > 2 * len(self._ends) + 64:
                self._heap = [(end, number, name) for number, (name, end) in enumerate(self._ends.items())]
                heapq.heapify(self._heap)

    def expired(self, key: K, now_s: float) -> bool:
        """Whether the key is known to have ended."""
        end = self._ends.get(key)
        return end is not None and now_s >= end

    def due(self, now_s: float) -> list[K]:
        """The keys that have ended; each is forgotten here."""
        ended = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now_s:
                end, _, key = heapq.heappop(self._heap)
                if self._ends.get(key) == end:
                    del self._ends[key]
                    ended.append(key)
        return ended

    def ended(self, now_s: float) -> list[K]:
        """The keys that have ended. They are known as such until they are given another end, or None."""
        ended: dict[K, tuple[float, int, K]] = {}
        with self._lock:
            while self._heap and self._heap[0][0] <= now_s:
                entry = heapq.heappop(self._heap)
                if self._ends.get(entry[2]) == entry[0]:
                    ended[entry[2]] = entry
            for entry in ended.values():
                heapq.heappush(self._heap, entry)
        return list(ended)

    def clear(self) -> None:
        """Forget every end."""
        with self._lock:
            self._ends.clear()
            self._heap.clear()
