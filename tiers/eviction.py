"""`EvictionOrder`: who leaves first when a tier is full."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection


class EvictionOrder:
    """Keys by priority, and within a priority by how recently they were used. Thread-safe.

    Lowest priority leaves first, then least recently used. Pinned keys are simply not in here. Every
    operation is O(1) or O(log p) in the number p of distinct priorities; planning is linear in the
    number of victims.
    """

    def __init__(self) -> None:
        self._buckets: dict[float, dict[str, None]] = {}  # a dict keeps its order: oldest use first
        self._priority_of: dict[str, float] = {}
        self._priorities: list[float] = []  # heap; may hold priorities whose bucket is gone
        self._lock = threading.Lock()

    def add(self, key: str, priority: float) -> None:
        """Enter a key, or move it, as the most recently used of its priority."""
        with self._lock:
            self._discard(key)
            bucket = self._buckets.get(priority)
            if bucket is None:
                bucket = self._buckets[priority] = {}
                heapq.heappush(self._priorities, priority)
            bucket[key] = None
            self._priority_of[key] = priority

    def touch(self, key: str) -> None:
        """Note a use of the key; nothing where it is not in the order."""
        with self._lock:
            priority = self._priority_of.get(key)
            if priority is not None:
                bucket = self._buckets[priority]
                del bucket[key]
                bucket[key] = None

    def discard(self, key: str) -> None:
        """Take a key out of the order; nothing where it is not in."""
        with self._lock:
            self._discard(key)

    def clear(self) -> None:
        """Take every key out."""
        with self._lock:
            self._buckets.clear()
            self._priority_of.clear()
            self._priorities.clear()

    def copy(self) -> EvictionOrder:
        """An order of its own, to try out what would happen."""
        copied = EvictionOrder()
        with self._lock:
            copied._buckets = {priority: dict(bucket) for priority, bucket in self._buckets.items()}
            copied._priority_of = dict(self._priority_of)
            copied._priorities = list(self._priorities)
        return copied

    def plan(
        self,
        need_bytes: int,
        max_priority: float,
        nbytes_of: Callable[[str], int],
        exclude: Collection[str] = (),
    ) -> list[str] | None:
        """Keys whose departure frees at least `need_bytes`, none above `max_priority`; None if there
        are not enough. Changes nothing."""
        victims: list[str] = []
        taken: list[float] = []
        with self._lock:
            try:
                while self._priorities and self._priorities[0] <= max_priority:
                    priority = heapq.heappop(self._priorities)
                    if priority not in self._buckets or (taken and taken[-1] == priority):
                        continue  # left behind by a bucket that went (and perhaps came back)
                    taken.append(priority)
                    for key in self._buckets[priority]:
                        if key in exclude:
                            continue
                        victims.append(key)
                        need_bytes -= nbytes_of(key)
                        if need_bytes <= 0:
                            return victims
            finally:
                for priority in taken:
                    heapq.heappush(self._priorities, priority)
        return None

    def _discard(self, key: str) -> None:
        priority = self._priority_of.pop(key, None)
        if priority is not None:
            bucket = self._buckets[priority]
            del bucket[key]
            if not bucket:
                del self._buckets[priority]
