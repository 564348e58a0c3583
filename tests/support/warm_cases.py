"""Warm memory in each of its forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory
from tests.support.tiers import closing_case, register


def _factory(**form: Any) -> Any:
    def make(folder: Path, *, capacity_bytes: Any = 2**30, **arguments: Any) -> Tier:
        # The contract speaks in bytes; the size of warm memory is given in GB.
        size_gb = capacity_bytes / 10**9 if type(capacity_bytes) in (int, float) else capacity_bytes
        return WarmMemory(size_gb, **form, **arguments)

    return make


register(closing_case("warm", _factory(), exact_bytes=True))
register(closing_case("warm-pickle", _factory(serialization_format="pickle"), slow=True))
register(
    closing_case("warm-msgpack-lz4", _factory(serialization_format="msgpack", compression="lz4"), slow=True)
)
register(closing_case("warm-json-zstd", _factory(serialization_format="json", compression="zstd"), slow=True))
register(closing_case("warm-zstd", _factory(compression="zstd"), slow=True))
register(closing_case("warm-shared", _factory(shared_memory=True), slow=True))
register(closing_case("warm-shared-lz4", _factory(shared_memory=True, compression="lz4")))
