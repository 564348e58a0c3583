"""`Tombstones`: when a deletion may be forgotten.

A tombstone has two uses: it outranks older values that may come back, and it knows which requests have
been seen. So it goes when no disk that may hold the key is away, and when no client repeats any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .model import Kind, MemberId, Version

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_KEYS_A_TICK = 20_000


class Tombstones:
    """Deleted keys in the order in which they were deleted."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._queue: deque[tuple[float, tuple[str, ...]]] = deque()
        self._kept: list[str] = []
        """Keys whose time has come, but which a disk that is away may still hold."""

    def add(self, keys: Iterable[str], now_s: float) -> None:
        self._queue.append((now_s, tuple(keys)))

    def review(self) -> None:
        """A disk has come back or has been given up: look again at those that were kept for it."""
        if self._kept:
            self._queue.appendleft((float("-inf"), tuple(self._kept)))
            self._kept = []

    def purge(self) -> None:
        """Forget what may be forgotten."""
        core = self._core
        limit_s = core.clock() - core.config.tombstone_retention_s
        removals: dict[MemberId, list[tuple[str, Version]]] = {}
        count = 0
        while self._queue and self._queue[0][0] <= limit_s and count < _KEYS_A_TICK:
            for key in self._queue.popleft()[1]:
                count += 1
                entry = core.catalog.entries.get(key)
                if entry is None or entry.kind is not Kind.TOMBSTONE or entry.changed_s > limit_s:
                    continue
                if (
                    core.doubts.may_be_away((key,))
                    or key in core.doubts.uncertain
                    or key in core.requests.busy
                ):
                    self._kept.append(key)
                    continue
                for member in entry.marks:
                    removals.setdefault(member, []).append((key, entry.version))
                core.catalog.remove(key)
        for member, items in removals.items():
            core.transfers.remove(member, items)
        if self._kept and not core.doubts.dark:
            self.review()
