"""What the tests of the store on disk share: blobs of plain bytes, and a disk that is full."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from memories.tiers.blobs import Blob
from memories.tiers.checksum import checksum
from memories.tiers.cold import ColdBlobs
from memories.tiers.record import Record

LARGE = 300_000
"""Bytes of a value that is a file of its own."""


def blob(key: str, content: bytes) -> Blob:
    view = memoryview(content)
    return Blob(Record(key=key, lengths=(len(content),), checksums=(checksum(view),)), (view,))


def noise(nbytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def content_of(store: ColdBlobs, key: str) -> bytes:
    return bytes(store.get(key).buffers[0])


@contextmanager
def largest_file(nbytes: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
