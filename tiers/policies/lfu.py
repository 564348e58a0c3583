"""`lfu`: what was used least often leaves first."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict

from .base import EvictionPolicy


class LeastFrequentlyUsed(EvictionPolicy):
    """A list for each number of uses; among equals the least recently used leaves first.

    Counts are forgotten when a key goes. Each event is O(log f) in the number f of distinct counts, which
    is at most the square root of twice the number of accesses.
    """

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._uses: dict[str, int] = {}
        self._lists: dict[int, OrderedDict[str, None]] = {}
        self._counts: list[int] = []  # those that have a list, ascending

    def _enter(self, key: str, nbytes: int) -> None:
        self._uses[key] = 1
        self._append(key, 1)

    def _use(self, key: str, nbytes: int) -> None:
        self._pull(key, nbytes)
        self._uses[key] += 1
        self._append(key, self._uses[key])

    def _pop(self) -> str | None:
        if not self._counts:
            return None
        key = next(iter(self._lists[self._counts[0]]))
        self._pull(key, 0)
        return key

    def _return(self, key: str, nbytes: int) -> None:
        self._append(key, self._uses[key])
        self._lists[self._uses[key]].move_to_end(key, last=False)

    def _left(self, key: str, nbytes: int, *, evicted: bool) -> None:
        del self._uses[key]

    def _append(self, key: str, count: int) -> None:
        keys = self._lists.get(count)
        if keys is None:
            keys = self._lists[count] = OrderedDict()
            insort(self._counts, count)
        keys[key] = None

    def _pull(self, key: str, nbytes: int) -> None:
        count = self._uses[key]
        keys = self._lists[count]
        del keys[key]
        if not keys:
            del self._lists[count]
            del self._counts[bisect_left(self._counts, count)]
