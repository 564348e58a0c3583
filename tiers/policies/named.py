"""Eviction policies by the name that users write."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import InvalidType, InvalidValue
from .base import EvictionPolicy
from .cost import CostAware
from .lfu import LeastFrequentlyUsed
from .lru import LeastRecentlyUsed
from .migration import EVICTION_POLICIES
from .s3fifo import S3Fifo


def eviction_policy(name: str | Callable[[int], EvictionPolicy], capacity_bytes: int) -> EvictionPolicy:
    """A fresh policy: "s3fifo" (the default), "lru", "lfu" or "cost" (`InvalidValue` for another name), or
    what the caller's own function makes."""
    if callable(name):
        made = name(capacity_bytes)
        if not isinstance(made, EvictionPolicy):
            raise InvalidType(f"{name!r} makes a {type(made).__name__}, and not an EvictionPolicy")
        return made
    match name:
        case "s3fifo":
            return S3Fifo(capacity_bytes)
        case "lru":
            return LeastRecentlyUsed(capacity_bytes)
        case "lfu":
            return LeastFrequentlyUsed(capacity_bytes)
        case "cost":
            return CostAware(capacity_bytes)
    raise InvalidValue(f"there is no eviction policy {name!r}; choose from {', '.join(EVICTION_POLICIES)}")
