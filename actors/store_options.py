"""`StoreDefaults`: what a caller asks of a store, checked, in the words of the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InvalidValue
from ..tiers.validation import check_choice, check_priority, check_ttl
from .core.model import TIER_ORDER, StoreOptions


@dataclass(frozen=True, slots=True)
class StoreDefaults:
    """What holds for every store of one manager, and how the rest is filled in."""

    node: str
    """The writer's node, on which the first copy is to be."""
    replicas: int = 1
    wall_clock: Callable[[], float] = time.time

    def options(
        self,
        tier: str | None = None,
        priority: float = 0,
        ttl_s: float | None = None,
        pinned: bool = False,
        replicas: int | None = None,
        durable: bool = False,
        allow_degraded: bool = False,
    ) -> StoreOptions:
        """Of one store. Raises `InvalidValue` or `InvalidType` where none could do what is asked."""
        copies = self.replicas if replicas is None else replicas
        if not isinstance(copies, int) or copies < 1:
            raise InvalidValue(f"replicas must be a whole number of at least 1, not {copies!r}")
        lives_s = check_ttl(ttl_s)
        return StoreOptions(
            node=self.node,
            tier=None if tier is None else check_tier(tier),
            replicas=copies,
            durable=durable,
            allow_degraded=allow_degraded,
            priority=check_priority(priority),
            expires_s=None if lives_s is None else self.wall_clock() + lives_s,
            pinned=pinned,
        )


def check_tier(tier: str) -> str:
    """The name of a tier. Raises `InvalidValue`, naming those there are."""
    return check_choice("tier", tier, TIER_ORDER)
