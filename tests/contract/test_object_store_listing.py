"""A bucket with many keys is listed a page at a time."""

from __future__ import annotations

import http.client
import tracemalloc

import pytest

from memories.tiers.glacier.names import object_name
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.glacier_cases import server
from tests.support.object_servers import SeaweedFS


def fill(s3: SeaweedFS, prefix: str, count: int) -> None:
    """Objects with names as the tier gives them: for a listing these are enough."""
    filer = http.client.HTTPConnection("127.0.0.1", s3.filer_port, timeout=60)
    for number in range(count):
        name = object_name(f"key/{number:06}")
        filer.request("PUT", f"/buckets/{s3.bucket}/{prefix}/keys/{name}", b"x")
        answer = filer.getresponse()
        answer.read()
        assert answer.status == 201
    filer.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "count",
    [pytest.param(5_000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.soak)],
)
def test_many_keys_are_listed_without_being_held(count: int) -> None:
    s3 = server("s3")
    prefix = f"listing-{count}"
    fill(s3, prefix, count)
    with GlacierMemory("s3", {**s3.config, "prefix": prefix}) as memory:
        # The first listing pays for what clients make once.
        assert sum(1 for _ in memory.keys("key/0000")) == 100
        tracemalloc.start()
        found = sum(1 for _ in memory.keys(""))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == count == len(memory)
        # A page of 1,000 keys and its text take about 3 MB, however many pages there are.
        assert peak_bytes < 8 * 2**20, f"{peak_bytes / 2**20:.1f} MB"
        assert sum(1 for _ in memory.keys("key/0012")) == 100
