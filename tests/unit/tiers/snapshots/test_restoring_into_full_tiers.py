"""A restore into a tier that evicts: what cannot find room is known before anything changes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memories.errors import CapacityExceeded
from memories.tiers.cold_memory import ColdMemory
from memories.tiers.hot_memory import HotMemory
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory

GB = 0.0001
KB = 1000

TIERS: dict[str, Callable[[Path], Tier]] = {
    "memory": lambda folder: Tier(MemoryBlobs(), capacity_bytes=100 * KB, on_full="evict"),
    "warm": lambda folder: WarmMemory(GB, on_full="evict"),
    "hot": lambda folder: HotMemory(GB, device="cpu", on_full="evict"),
    "cold": lambda folder: ColdMemory(GB, folder, on_full="evict"),
}
opening = pytest.mark.parametrize("name", TIERS)


def snapshot(*items: dict[str, Any]) -> io.BytesIO:
    """A snapshot of values of 30,000 bytes."""
    target = io.BytesIO()
    with Tier(MemoryBlobs()) as source:
        source.store_many([{"value": bytes([1]) * 30 * KB, **item} for item in items])
        source.create_snapshot(target)
    target.seek(0)
    return target


@opening
@pytest.mark.parametrize(
    "item", [{"pin": True}, {"priority": -1}, {"priority": 1, "pin": True}], ids=["pinned", "low", "both"]
)
def test_a_restore_that_cannot_end_does_not_begin(name: str, item: dict[str, Any], tmp_path: Path) -> None:
    with TIERS[name](tmp_path) as tier:
        tier.store("k0", b"old")
        tier.store("other", bytes(30 * KB), pin=True)
        items = [{"key": f"k{number}", **item} for number in range(4)]
        if not item.get("pin"):
            items[0]["pin"] = items[1]["pin"] = True
        with pytest.raises(CapacityExceeded):
            tier.restore_snapshot(snapshot(*items))
        assert sorted(tier.keys()) == ["k0", "other"]
        assert tier.retrieve("k0") == b"old"


@opening
def test_a_restore_that_fits_once_others_have_left(name: str, tmp_path: Path) -> None:
    with TIERS[name](tmp_path) as tier:
        tier.store("k0", bytes(30 * KB), pin=True)
        tier.store("middle", bytes(60 * KB), priority=5)
        restored = tier.restore_snapshot(
            snapshot({"key": "k0", "pin": True}, {"key": "high", "priority": 9}, {"key": "low"})
        )
        assert sorted(restored) == sorted(tier.keys()) == ["high", "k0", "low"]


@opening
def test_restored_values_may_leave_for_those_that_follow(name: str, tmp_path: Path) -> None:
    with TIERS[name](tmp_path) as tier:
        tier.restore_snapshot(snapshot(*({"key": f"k{number}"} for number in range(9))))
        assert 2 <= len(tier) <= 3
        assert tier.used_bytes <= 100 * KB
