"""`DividedTier`: a tier whose room is divided, with an order of eviction for each part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from .eviction import EvictionOrder
from .record import Record
from .tier import Tier


class DividedTier(Tier):
    """A key that goes from part to part (device to device, pool to pool) leaves the order of the old one."""

    @abstractmethod
    def _orders(self) -> Iterable[EvictionOrder | None]:
        """The orders of all parts; None of a part that evicts nothing."""

    def _noted(self, record: Record) -> None:
        self._leave_orders(record.key)
        super()._noted(record)

    def _forgotten(self, key: str) -> None:
        self._leave_orders(key)
        super()._forgotten(key)

    def _leave_orders(self, key: str) -> None:
        for order in self._orders():
            if order is not None:
                order.discard(key)
