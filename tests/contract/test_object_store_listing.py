"""A bucket with many keys is listed a page at a time."""

from __future__ import annotations

import http.client
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from memories.tiers.glacier.names import object_name
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.glacier_cases import server
from tests.support.object_servers import FakeGCS, SeaweedFS


def names(prefix: str, count: int) -> list[str]:
    """Object names as the tier gives them. For a listing they are enough: the contents are not looked at."""
    return [f"{prefix}/keys/{object_name(f'key/{number:06}')}" for number in range(count)]


def fill_s3(s3: SeaweedFS, prefix: str, count: int) -> None:
    client = s3.client()
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda name: client.put_object(Bucket=s3.bucket, Key=name, Body=b"x"), names(prefix, count)
        ):
            pass


def fill_gcs(gcs: FakeGCS, prefix: str, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gcs.port, timeout=30)
    for name in names(prefix, count):
        path = f"/upload/storage/v1/b/{gcs.bucket}/o?uploadType=media&name={quote(name, safe='')}"
        connection.request("POST", path, b"x")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("provider", "count"),
    [
        pytest.param("s3", 5_000, marks=pytest.mark.slow),
        pytest.param("gcs", 5_000, marks=pytest.mark.slow),
        pytest.param("gcs", 100_000, marks=pytest.mark.soak),
    ],
)
def test_many_keys_are_listed_without_being_held(provider: str, count: int) -> None:
    running = server(provider)
    prefix = f"listing-{count}"
    {"s3": fill_s3, "gcs": fill_gcs}[provider](running, prefix, count)
    with GlacierMemory(provider, {**running.config, "prefix": prefix}) as memory:
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
