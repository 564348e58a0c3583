"""`cost`: what is cheap to miss for the room it takes leaves first.

Greedy-Dual-Size-Frequency (Cherkasova, 1998).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from .base import EvictionPolicy


def equal_cost(nbytes: int) -> float:
    """Every miss costs the same: small keys are worth keeping, and the hit ratio in keys is highest."""
    return 1.0


class CostAware(EvictionPolicy):
    """The worth of a key is ``age + uses * cost / bytes``. The age rises to the worth of whatever leaves,
    so that keys which were popular once do not stay for ever.

    ``cost_of(nbytes)`` is what a miss costs, in any unit; `equal_cost` unless the caller knows, for
    example ``lambda n: latency_s + n / bytes_per_s`` of the tier below. An access is O(1), and each
    eviction O(log n): the heap is put right only where a stale entry comes up.
    """

    def __init__(self, capacity_bytes: int, cost_of: Callable[[int], float] = equal_cost) -> None:
        super().__init__(capacity_bytes)
        self._cost_of = cost_of
        self._age = 0.0
        self._uses: dict[str, int] = {}
        self._worth: dict[str, tuple[float, int]] = {}  # only of keys in the order
        self._heap: list[tuple[float, int, str]] = []
        self._ticket = 0  # settles equal worth: the least recently used leaves first

    def _enter(self, key: str, nbytes: int) -> None:
        self._uses[key] = 1
        self._value(key, nbytes)
        self._push(key)

    def _use(self, key: str, nbytes: int) -> None:
        self._uses[key] += 1
        self._value(key, nbytes)

    def _pop(self) -> str | None:
        while self._heap:
            worth, ticket, key = self._heap[0]
            current = self._worth.get(key)
            if current == (worth, ticket):
                heapq.heappop(self._heap)
                del self._worth[key]
                self._age = worth
                return key
            # Worth only rises, so a stale entry is never below its place; the key's true one goes in.
            if current is not None and current > (worth, ticket):
                heapq.heapreplace(self._heap, (*current, key))
            else:
                heapq.heappop(self._heap)
        return None

    def _return(self, key: str, nbytes: int) -> None:
        self._worth[key] = (self._age, -self._ticket)
        self._push(key)

    def _pull(self, key: str, nbytes: int) -> None:
        del self._worth[key]
        self._shrink_heap()

    def _left(self, key: str, nbytes: int, *, evicted: bool) -> None:
        del self._uses[key]

    def _resize(self, key: str, before: int, after: int) -> None:
        self._value(key, after)
        self._push(key)  # a larger key is worth less than its entry says

    def _value(self, key: str, nbytes: int) -> None:
        self._ticket += 1
        worth = self._age + self._uses[key] * self._cost_of(nbytes) / max(nbytes, 1)
        self._worth[key] = (worth, self._ticket)

    def _push(self, key: str) -> None:
        heapq.heappush(self._heap, (*self._worth[key], key))
        self._shrink_heap()

    def _shrink_heap(self) -> None:
        if len(self._heap) > 2 * len(self._worth) + 64:
            self._heap = [(*worth, key) for key, worth in self._worth.items()]
            heapq.heapify(self._heap)
