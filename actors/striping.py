"""`Stripes`: large values in chunks over the nodes, written and fetched in parallel.

A manifest under the value's own key names the chunks, and is written after all of them: so a reader sees
the old value whole or the new one, and an interrupted writer leaves only chunks that nobody names.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgpack
import numpy as np

from ..errors import CapacityExceeded, CorruptData, KeyNotFound, NewerFormat, NotEnoughNodes, StorageFull
from ..tiers.codec import decode, encode
from ..tiers.encoded import Encoded
from ..tiers.formats import check_format
from .client import MemoryClient, Receipt
from .core.model import StoreOptions
from .parcel import Bytes

CHUNK_BYTES = 64 << 20
PARALLEL = 4
"""Chunks under way at a time; each is one object in the writer's store until it is acknowledged."""
CHUNK_PREFIX = "\x00chunk/"
"""Keys that begin so are ours, and are not listed."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """One run of bytes of one buffer."""

    key: str
    buffer: int
    start: int
    stop: int


class Stripes:
    """Stores and reads striped values through one client. Thread-safe."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def store(self, key: str, value: Any, options: StoreOptions, nodes: Sequence[str]) -> Receipt:
        """Store a value in chunks, whose first copies go round the nodes, and then its manifest."""
        encoded = encode(value)
        chunks = list(_chunks(encoded, uuid.uuid4().hex))
        old = self._old_chunks(key)
        targets = itertools.cycle(nodes or [options.node])
        keys = [chunk.key for chunk in chunks]
        try:
            with ThreadPoolExecutor(PARALLEL, thread_name_prefix="memories-stripe") as pool:
                stores = [
                    pool.submit(self._store_chunk, encoded, chunk, replace(options, node=node))
                    for chunk, node in zip(chunks, targets, strict=False)
                ]
                for store in stores:
                    store.result()
        except BaseException:
            self._client.delete_many(keys)
            raise
        manifest = msgpack.packb(
            {
                "format": FORMAT,
                "header": encoded.header,
                "lengths": [buffer.nbytes for buffer in encoded.buffers],
                "chunks": [(c.key, c.buffer, c.start, c.stop) for c in chunks],
            }
        )
        try:
            receipt = self._client.store_many([key], [encode(manifest)], [{}], options)
        except (CapacityExceeded, NotEnoughNodes, StorageFull):
            # Only where it is certain that the manifest was not stored: otherwise it may name these chunks.
            self._client.delete_many(keys)
            raise
        if old:
            self._client.delete_many(old)
        return receipt

    def retrieve(self, key: str) -> Any:
        """The value, put together from its chunks. Raises `KeyNotFound`."""
        while True:
            manifest = self._manifest(key)
            buffers = [np.empty(length, np.uint8) for length in manifest["lengths"]]
            chunks = [Chunk(*fields) for fields in manifest["chunks"]]
            try:
                with ThreadPoolExecutor(PARALLEL, thread_name_prefix="memories-stripe") as pool:
                    list(pool.map(partial(self._fetch, buffers), chunks))
            except KeyNotFound:
                if self._manifest(key)["chunks"] == manifest["chunks"]:
                    raise CorruptData(f"{key!r} has a manifest, but some of its chunks are gone") from None
                continue  # overwritten while it was read
            views = [buffer.data for buffer in buffers]
            return decode(manifest["header"], views, allow_pickle=True, writable=True)

    def delete(self, key: str) -> bool:
        """Forget a value and its chunks; whether there was one."""
        chunks = self._old_chunks(key)
        deleted = self._client.delete_many([key])
        if chunks:
            self._client.delete_many(chunks)
        return bool(deleted)

    def _store_chunk(self, encoded: Encoded, chunk: Chunk, options: StoreOptions) -> None:
        part = encoded.buffers[chunk.buffer][chunk.start : chunk.stop]
        value = encode(np.frombuffer(part, np.uint8))
        self._client.store_many([chunk.key], [value], [{}], options)

    def _fetch(self, buffers: Sequence[Bytes], chunk: Chunk) -> None:
        buffers[chunk.buffer][chunk.start : chunk.stop] = self._client.retrieve(chunk.key)

    def _manifest(self, key: str) -> dict[str, Any]:
        stored = self._client.retrieve(key)
        try:
            manifest: dict[str, Any] = msgpack.unpackb(stored)
            check_format(manifest["format"], FORMAT, f"the manifest of {key!r}")
        except NewerFormat:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptData(f"{key!r} was not stored with store_distributed; use retrieve()") from error
        return manifest

    def _old_chunks(self, key: str) -> list[str]:
        try:
            return [fields[0] for fields in self._manifest(key)["chunks"]]
        except (KeyNotFound, CorruptData):
            return []


def _chunks(encoded: Encoded, token: str) -> Iterator[Chunk]:
    numbers = itertools.count()
    for index, buffer in enumerate(encoded.buffers):
        for start in range(0, buffer.nbytes, CHUNK_BYTES):
            stop = min(start + CHUNK_BYTES, buffer.nbytes)
            yield Chunk(f"{CHUNK_PREFIX}{token}/{next(numbers)}", index, start, stop)
