"""Tiered storage in plain Python: codecs, tiers, policies, queries, snapshots."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analytics import Analytics, AnalyticsReport
    from .blobs import Blob, BlobStore
    from .cold_memory import ColdMemory
    from .glacier_memory import GlacierMemory
    from .hot_memory import HotMemory
    from .query import MetadataIndex
    from .record import Record, Version
    from .tier import Tier
    from .warm_memory import WarmMemory

_HOMES = {
    "analytics": ("Analytics", "AnalyticsReport"),
    "blobs": ("Blob", "BlobStore"),
    "cold_memory": ("ColdMemory",),
    "glacier_memory": ("GlacierMemory",),
    "hot_memory": ("HotMemory",),
    "query": ("MetadataIndex",),
    "record": ("Record", "Version"),
    "tier": ("Tier",),
    "warm_memory": ("WarmMemory",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Analytics",
    "AnalyticsReport",
    "Blob",
    "BlobStore",
    "ColdMemory",
    "GlacierMemory",
    "HotMemory",
    "MetadataIndex",
    "Record",
    "Tier",
    "Version",
    "WarmMemory",
]


def __getattr__(name: str) -> Any:
    """Import a name's module when the name is first used: importing the package costs nothing."""
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
