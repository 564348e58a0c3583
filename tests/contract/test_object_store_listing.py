"""A bucket with many keys is listed a page at a time."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from memories.tiers.glacier.names import object_name
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.glacier_cases import server


@pytest.mark.parametrize(
    "count",
    [pytest.param(5_000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.soak)],
)
def test_many_keys_are_listed_without_being_held(count: int) -> None:
    s3 = server("s3")
    client = s3.client()
    prefix = f"listing-{count}"

    def put(number: int) -> None:
        # For a listing the name is enough; what is in the objects is not looked at.
        name = f"{prefix}/keys/{object_name(f'key/{number:06}')}"
        client.put_object(Bucket=s3.bucket, Key=name, Body=b"x")

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, range(count)):
            pass
    with GlacierMemory("s3", {**s3.config, "prefix": prefix}) as memory:
        # The first listing pays for what clients make once.
        assert sum(1 for _ in memory.keys("key/0000")) == 100
        tracemalloc.start()
        found = sum(1 for _ in memory.keys(""))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == count == len(memory)
        # A page of 1,000 keys with its XML takes about 3 MB, however many pages there are.
        assert peak_bytes < 8 * 2**20
        assert sum(1 for _ in memory.keys("key/0012")) == 100
        memory.clear()
        assert list(memory.keys()) == []
