"""`Expiries`: which keys have outlived their time, and are to be deleted."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from .commands import Announce
from .events import DeleteMany
from .model import Kind, RequestId

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_KEYS_A_TICK = 4096
_FEW = 1024
"""So many times are kept without looking whether they still count."""
_AN_ADDITION = 4
"""So many are looked at for each that is added, while they are sorted out: nobody waits for all of them."""


class Expiries:
    """Keys by the time at which they expire. Readers do not see expired keys even before they are deleted.

    Every change of a key adds its time again. When there may be more times that do not count any more than
    others, all are sorted out, some at each addition and some at each tick.
    """

    def __init__(self, core: CoordinatorCore, owner: str) -> None:
        self._core = core
        self._heap: list[tuple[float, str]] = []
        self._old: list[tuple[float, str]] = []
        """A heap as well: what is still to be sorted out."""
        self._sorted: set[str] = set()
        """Keys whose time is in the other heap already, until all are sorted out."""
        self._sorting = False
        self._most = _FEW
        self._deleting: dict[RequestId, tuple[str, ...]] = {}
        """Keys that are being deleted; it is announced when they are gone."""
        self._client = f"expiry of {owner}"
        self._sequence = 0

    def __len__(self) -> int:
        """How many times are kept."""
        return len(self._heap) + len(self._old)

    def add(self, key: str, expires_s: float | None) -> None:
        """Remember a key; None: it does not expire."""
        if expires_s is None:
            return
        if len(self._heap) >= self._most:
            self._begin_to_sort()
        self._sort_out(_AN_ADDITION)
        if self._sorting:
            self._sorted.add(key)
        heapq.heappush(self._heap, (expires_s, key))

    def due(self) -> DeleteMany | None:
        """A request that deletes what has expired, unless somebody is using it just now."""
        core = self._core
        self._announce()
        if len(self) > 2 * len(core.catalog.entries) + _FEW:
            self._begin_to_sort()  # many were deleted before their time
        self._sort_out(_KEYS_A_TICK)
        now_s = core.wall_clock()
        keys: dict[str, None] = {}
        for heap in (self._heap, self._old):
            busy = []
            while heap and heap[0][0] <= now_s and len(keys) < _KEYS_A_TICK:
                expires_s, key = heapq.heappop(heap)
                if not self._counts(expires_s, key):
                    continue
                if core.requests.is_wanted(key):
                    busy.append((expires_s, key))
                else:
                    keys[key] = None
            for item in busy:
                heapq.heappush(heap, item)
        if not keys:
            return None
        self._sequence += 1
        request = RequestId(self._client, self._sequence)
        self._deleting[request] = tuple(keys)
        return DeleteMany(request, tuple(keys))

    def _counts(self, expires_s: float, key: str) -> bool:
        """Whether the key is still to expire then. One that is lost does as well: its marks are to go."""
        entry = self._core.catalog.entries.get(key)
        return entry is not None and entry.kind is not Kind.TOMBSTONE and entry.expires_s == expires_s

    def _begin_to_sort(self) -> None:
        if not self._sorting:
            self._sorting = True
            self._heap, self._old = [], self._heap

    def _sort_out(self, most: int) -> None:
        """Look at so many old times, and keep what counts, once."""
        if not self._sorting:
            return
        old, sorted_ = self._old, self._sorted
        for _ in range(min(most, len(old))):
            item = old.pop()  # the last one: what is left is a heap without it
            key = item[1]
            if key not in sorted_ and self._counts(*item):
                sorted_.add(key)
                heapq.heappush(self._heap, item)
        if not old:
            self._sorting = False
            sorted_.clear()
            self._most = max(_FEW, 2 * len(self._heap))

    def _announce(self) -> None:
        """Whoever follows the keys is to look at them when they are gone, not before."""
        busy = self._core.requests.busy
        for request, keys in list(self._deleting.items()):
            holder = busy.get(keys[0])
            if holder is None or holder.request != request:
                del self._deleting[request]
                self._core.emit(Announce("expired", keys=keys))
