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


class Expiries:
    """Keys by the time at which they expire. Readers do not see expired keys even before they are deleted."""

    def __init__(self, core: CoordinatorCore, owner: str) -> None:
        self._core = core
        self._heap: list[tuple[float, str]] = []
        self._client = f"expiry of {owner}"
        self._sequence = 0

    def add(self, key: str, expires_s: float | None) -> None:
        """Remember a key; None: it does not expire."""
        if expires_s is not None:
            heapq.heappush(self._heap, (expires_s, key))

    def due(self) -> DeleteMany | None:
        """A request that deletes what has expired, unless somebody is using it just now."""
        core, heap = self._core, self._heap
        now_s = core.wall_clock()
        keys: dict[str, None] = {}
        busy = []
        while heap and heap[0][0] <= now_s and len(keys) < _KEYS_A_TICK:
            expires_s, key = heapq.heappop(heap)
            entry = core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or entry.expires_s != expires_s:
                continue  # it has been written or deleted since
            if key in core.requests.busy:
                busy.append((expires_s, key))
            else:
                keys[key] = None
        for item in busy:
            heapq.heappush(heap, item)
        if not keys:
            return None
        self._sequence += 1
        core.emit(Announce("expired", keys=tuple(keys)))
        return DeleteMany(RequestId(self._client, self._sequence), tuple(keys))
