"""Hot memory on the CPU, on two (pretended) devices, and on a GPU where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memories.tiers.hot_memory import HotMemory
from memories.tiers.tier import Tier
from tests.support.tiers import closing_case, register


def _factory(device: str) -> Any:
    def make(folder: Path, *, capacity_bytes: Any = 2**30, **arguments: Any) -> Tier:
        # The contract speaks in bytes; the size of hot memory is given in GB.
        size_gb = capacity_bytes / 10**9 if type(capacity_bytes) in (int, float) else capacity_bytes
        # Collecting takes a third of a second in a process of this size, and has tests of its own.
        return HotMemory(size_gb, device=device, garbage_collection_threshold=1.0, **arguments)

    return make


register(closing_case("hot-cpu", _factory("cpu"), exact_bytes=True))
