"""`StoreDefaults`: what a caller asks of a store, checked, in the words of the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InvalidValue
from ..tiers.validation import check_choice, check_flag, check_priority, check_ttl
from .core.model import TIER_ORDER, StoreOptions

MAX_REPLICAS = 1000
"""More nodes than a cluster has; inventories tell the number in two bytes."""


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
        check_replicas("replicas", copies)
        for name, flag in (("pin", pinned), ("durable", durable), ("allow_degraded", allow_degraded)):
            check_flag(name, flag)
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


def check_replicas(name: str, copies: int) -> int:
    """On how many nodes a value is to be. Raises `InvalidValue` where none could be."""
    if type(copies) is bool or not isinstance(copies, int) or not 1 <= copies <= MAX_REPLICAS:
        raise InvalidValue(f"{name} must be a whole number from 1 to {MAX_REPLICAS}, not {copies!r:.80}")
    return copies


def check_tier(tier: str) -> str:
    """The name of a tier. Raises `InvalidValue`, naming those there are."""
    return check_choice("tier", tier, TIER_ORDER)
