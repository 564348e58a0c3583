"""Cold memory in every file format and compression."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from memories.tiers.codec.compression import register_compression
from memories.tiers.cold_memory import ColdMemory
from memories.tiers.tier import Tier
from tests.support.tiers import closing_case, register

register_compression("zlib", zlib.compress, zlib.decompress)

FORMS = [
    (file_format, compression)
    for file_format in ("arrow", "parquet", "hdf5", "zarr")
    for compression in ("none", "zstd", "lz4", "snappy", "zlib")
]
QUICK = [("arrow", "none"), ("arrow", "zstd"), ("parquet", "lz4"), ("hdf5", "none"), ("zarr", "snappy")]


def _factory(**form: Any) -> Any:
    def make(folder: Path, *, capacity_bytes: Any = 2**30, **arguments: Any) -> Tier:
        size_gb = capacity_bytes / 10**9 if type(capacity_bytes) in (int, float) else capacity_bytes
        return ColdMemory(size_gb, folder / "cold", **form, **arguments)

    return make


for file_format, compression in FORMS:
    register(
        closing_case(
            f"cold-{file_format}-{compression}",
            _factory(file_format=file_format, compression=compression),
            durable=True,
            slow=(file_format, compression) != ("arrow", "none"),
        )
    )
register(
    closing_case("cold-index-on-disk", _factory(index_in_memory=False, compression="zstd"), durable=True)
)
