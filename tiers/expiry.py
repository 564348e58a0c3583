"""`Expiry`: which keys end when. Only keys with a time to live cost anything."""

from __future__ import annotations

import heapq
import threading


class Expiry:
    """Ends of life by key. Thread-safe.

    A heap with lazy deletion: changing or forgetting an end leaves the old entry in the heap, and it is
    dropped when it surfaces, or all at once when stale entries outnumber the live ones.
    """

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def set(self, key: str, expires_s: float | None) -> None:
        """Record when the key ends, or that it does not."""
        with self._lock:
            if expires_s is None:
                self._ends.pop(key, None)
                return
            self._ends[key] = expires_s
            heapq.heappush(self._heap, (expires_s, key))
            if len(self._heap) > 2 * len(self._ends) + 64:
                self._heap = [(end, name) for name, end in self._ends.items()]
                heapq.heapify(self._heap)

    def expired(self, key: str, now_s: float) -> bool:
        """Whether the key is known to have ended."""
        end = self._ends.get(key)
        return end is not None and now_s >= end

    def due(self, now_s: float) -> list[str]:
        """The keys that have ended; each is forgotten here."""
        ended = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now_s:
                end, key = heapq.heappop(self._heap)
                if self._ends.get(key) == end:
                    del self._ends[key]
                    ended.append(key)
        return ended

    def clear(self) -> None:
        """Forget every end."""
        with self._lock:
            self._ends.clear()
            self._heap.clear()
