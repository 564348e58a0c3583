"""Eviction policies by the name that users write."""

from __future__ import annotations

from ...errors import InvalidValue
from .base import EvictionPolicy
from .cost import CostAware
from .lfu import LeastFrequentlyUsed
from .lru import LeastRecentlyUsed
from .migration import EVICTION_POLICIES
from .s3fifo import S3Fifo


def eviction_policy(name: str, capacity_bytes: int) -> EvictionPolicy:
    """A fresh policy: "s3fifo" (the default), "lru", "lfu" or "cost". `InvalidValue` for another name."""
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
