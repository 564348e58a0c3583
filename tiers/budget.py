"""`Budget`: whether a newcomer fits, and who has to leave for it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..errors import CapacityExceeded
from .eviction import EvictionOrder
from .validation import check_capacity, check_choice


class Budget:
    """A ceiling on bytes. It decides and changes nothing: the tier stores, and removes the victims."""

    def __init__(self, name: str, capacity_bytes: int | None, on_full: str) -> None:
        self.name = name
        self.capacity_bytes = check_capacity("capacity_bytes", capacity_bytes)
        self.on_full = check_choice("on_full", on_full, ("raise", "evict"))
        self.order: EvictionOrder | None = None
        if self.capacity_bytes is not None and on_full == "evict":
            self.order = EvictionOrder()

    def copy(self) -> Budget:
        """A budget of its own, to try out what would happen."""
        copied = Budget(self.name, self.capacity_bytes, self.on_full)
        copied.order = None if self.order is None else self.order.copy()
        return copied

    def victims(
        self,
        *,
        used_bytes: int,
        incoming_bytes: int,
        released_bytes: int,
        priority: float,
        nbytes_of: Callable[[str], int],
        exclude: Collection[str],
    ) -> list[str]:
        """Who must leave so that the newcomers fit; empty where there is room.

        `released_bytes` are those of the values that the newcomers replace. Raises `CapacityExceeded`
        where they cannot fit, with the numbers.
        """
        if self.capacity_bytes is None:
            return []
        over_bytes = used_bytes - released_bytes + incoming_bytes - self.capacity_bytes
        if over_bytes <= 0:
            return []
        if incoming_bytes > self.capacity_bytes:
            raise CapacityExceeded(
                f"{incoming_bytes:,} bytes are more than {self.name} may hold at all "
                f"({self.capacity_bytes:,} bytes): raise its size, or use another tier"
            )
        if self.order is None:
            raise CapacityExceeded(
                f"{incoming_bytes:,} bytes do not fit {self.name}: {used_bytes:,} of {self.capacity_bytes:,} "
                'bytes are in use; delete something, raise the size, or open it with on_full="evict"'
            )
        planned = self.order.plan(over_bytes, priority, nbytes_of, exclude)
        if planned is None:
            raise CapacityExceeded(
                f"{incoming_bytes:,} bytes do not fit {self.name}: {used_bytes:,} of {self.capacity_bytes:,} "
                f"bytes are in use, and what is not pinned and has at most priority {priority:g} does not "
                "free enough; unpin or delete something, or store with a higher priority"
            )
        return planned
