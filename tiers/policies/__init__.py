"""Which data leaves a tier, which comes back, and when. Pure: events and the time go in, keys come out."""

from __future__ import annotations

from .base import EvictionPolicy
from .cost import CostAware
from .lfu import LeastFrequentlyUsed
from .lru import LeastRecentlyUsed
from .migration import EVICTION_POLICIES, TIERS, MigrationPolicy
from .named import eviction_policy
from .rising import RiseOnRead
from .s3fifo import S3Fifo
from .tier_policy import Due, TierPolicy

__all__ = [
    "EVICTION_POLICIES",
    "TIERS",
    "CostAware",
    "Due",
    "EvictionPolicy",
    "LeastFrequentlyUsed",
    "LeastRecentlyUsed",
    "MigrationPolicy",
    "RiseOnRead",
    "S3Fifo",
    "TierPolicy",
    "eviction_policy",
]
