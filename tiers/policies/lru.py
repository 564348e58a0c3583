"""`lru`: what was not used for longest leaves first."""

from __future__ import annotations

from collections import OrderedDict

from .base import EvictionPolicy


class LeastRecentlyUsed(EvictionPolicy):
    """One list in the order of the last use. One scan of more than the tier holds empties it of all else."""

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._order: OrderedDict[str, None] = OrderedDict()

    def _enter(self, key: str, nbytes: int) -> None:
        self._order[key] = None

    def _use(self, key: str, nbytes: int) -> None:
        self._order.move_to_end(key)

    def _pop(self) -> str | None:
        return self._order.popitem(last=False)[0] if self._order else None

    def _return(self, key: str, nbytes: int) -> None:
        self._order[key] = None
        self._order.move_to_end(key, last=False)

    def _pull(self, key: str, nbytes: int) -> None:
        del self._order[key]
