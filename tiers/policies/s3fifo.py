"""`s3fifo`: three queues that let one-time visitors pass through quickly.

After "FIFO queues are all you need for cache eviction" (Yang et al., SOSP 2023).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .base import EvictionPolicy

_SMALL_FRACTION: Final = 0.1
_GHOST_FRACTION: Final = 0.9
_USES_TO_RISE: Final = 2
_MOST_USES: Final = 3


class S3Fifo(EvictionPolicy):
    """New keys enter a small queue (a tenth of the bytes); those used twice there rise to the main queue,
    the others leave and are remembered as ghosts. A ghost that comes back enters the main queue at once.
    In the main queue a use buys another round, three at most.

    So a scan passes through the small queue and leaves the main one alone. Ghosts are keys without
    bytes: as many as nine tenths of the capacity would hold.
    """

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._small_capacity = int(capacity_bytes * _SMALL_FRACTION)
        self._main_capacity = capacity_bytes - self._small_capacity
        self._ghost_capacity = int(capacity_bytes * _GHOST_FRACTION)
        self._small: OrderedDict[str, int] = OrderedDict()  # key -> uses since it entered
        self._main: OrderedDict[str, int] = OrderedDict()
        self._ghosts: OrderedDict[str, int] = OrderedDict()  # key -> bytes
        self._small_bytes = 0
        self._main_bytes = 0
        self._ghost_bytes = 0
        self._leaves_small: dict[str, int] = {}
        self._leaves_main: set[str] = set()
        self._was_full = False

    def admits(self, nbytes: int) -> bool:
        """Not what would fill the small queue: it would push out all that waits there for its second use."""
        return nbytes < self._small_capacity

    def _enter(self, key: str, nbytes: int) -> None:
        ghost_bytes = self._ghosts.pop(key, None)
        if ghost_bytes is not None:
            self._ghost_bytes -= ghost_bytes
        # Until the first eviction there is no reason to hold new keys to a tenth of the room.
        fills_up = not self._was_full and self._small_bytes >= self._small_capacity
        if ghost_bytes is not None or fills_up:
            self._enter_main(key, nbytes)
        else:
            self._small[key] = 0
            self._small_bytes += nbytes

    def _enter_main(self, key: str, nbytes: int) -> None:
        self._main[key] = 0
        self._main_bytes += nbytes

    def _use(self, key: str, nbytes: int) -> None:
        queue = self._small if key in self._small else self._main
        queue[key] += 1

    def _pop(self) -> str | None:
        self._was_full = True
        while self._small or self._main:
            # Keys of no bytes weigh nothing in a queue, so it is the keys that say whether one is empty.
            is_main = self._main and (self._main_bytes > self._main_capacity or not self._small)
            queue, pop = (self._main, self._pop_main) if is_main else (self._small, self._pop_small)
            while queue:
                key = pop()
                if key is not None:
                    return key
        return None

    def _pop_small(self) -> str | None:
        key, uses = self._small.popitem(last=False)
        nbytes = self._sizes[key]
        self._small_bytes -= nbytes
        if uses >= _USES_TO_RISE:
            self._enter_main(key, nbytes)
            return None
        self._leaves_small[key] = uses
        return key

    def _pop_main(self) -> str | None:
        key, uses = self._main.popitem(last=False)
        if uses:
            self._main[key] = min(uses, _MOST_USES) - 1
            return None
        self._main_bytes -= self._sizes[key]
        self._leaves_main.add(key)
        return key

    def _return(self, key: str, nbytes: int) -> None:
        if key in self._leaves_main:
            self._leaves_main.discard(key)
            self._enter_main(key, nbytes)
            self._main.move_to_end(key, last=False)
        else:
            self._small[key] = self._leaves_small.pop(key)
            self._small.move_to_end(key, last=False)
            self._small_bytes += nbytes

    def _left(self, key: str, nbytes: int, *, evicted: bool) -> None:
        if key in self._leaves_main:
            self._leaves_main.discard(key)
            return
        del self._leaves_small[key]
        if not evicted or nbytes > self._ghost_capacity:
            return
        while self._ghost_bytes + nbytes > self._ghost_capacity:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
        self._ghosts[key] = nbytes
        self._ghost_bytes += nbytes
        # Keys of no bytes would pile up otherwise.
        while len(self._ghosts) > 2 * len(self._sizes) + 1024:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]

    def _pull(self, key: str, nbytes: int) -> None:
        uses = self._small.pop(key, None)
        if uses is not None:
            self._small_bytes -= nbytes
            self._leaves_small[key] = uses
        else:
            del self._main[key]
            self._main_bytes -= nbytes
            self._leaves_main.add(key)

    def _resize(self, key: str, before: int, after: int) -> None:
        if key in self._small:
            self._small_bytes += after - before
        else:
            self._main_bytes += after - before
