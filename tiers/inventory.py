"""`Inventory`: what a tier remembers of its keys besides their blobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import MemoriesError
from .eviction import EvictionOrder
from .expiry import Expiry
from .query import MetadataIndex
from .query.sorting import Sort
from .record import Record


class Inventory:
    """Ends of life, hidden blobs, the eviction order and the metadata index, all following the records.

    Nothing in here is a truth of its own: it can be rebuilt from the records at any time. The metadata
    index is built by the first query and costs nothing before. Thread-safe.
    """

    def __init__(
        self, records: Callable[[], Iterator[Record]], order_of: Callable[[str], EvictionOrder | None]
    ) -> None:
        self.expiry: Expiry[str] = Expiry()
        self.hidden: set[str] = set()
        """Tombstones and superseded blobs, which a cluster leaves behind."""
        self._records = records
        self._order_of = order_of
        self._index: MetadataIndex | None = None
        self._index_lock = threading.Lock()

    def note(self, record: Record) -> None:
        """Follow a record that is now the one of its key."""
        key = record.key
        if record.expires_s is not None or self.expiry:
            self.expiry.set(key, record.expires_s)
        hidden = record.tombstone or record.superseded
        if hidden:
            self.hidden.add(key)
        elif self.hidden:
            self.hidden.discard(key)
        order = self._order_of(key)
        if order is not None:
            if record.pinned or hidden:
                order.discard(key)
            else:
                order.add(key, record.priority)
        with self._index_lock:
            if self._index is not None:
                if hidden:
                    self._index.remove(key)
                else:
                    self._index_or_drop(record)

    def forget(self, key: str) -> None:
        """Follow the departure of a key."""
        self.expiry.set(key, None)
        self.hidden.discard(key)
        order = self._order_of(key)
        if order is not None:
            order.discard(key)
        with self._index_lock:
            if self._index is not None:
                self._index.remove(key)

    def touch(self, key: str) -> None:
        """Note that the key was read."""
        order = self._order_of(key)
        if order is not None:
            order.touch(key)

    def clear(self, order: EvictionOrder | None) -> None:
        """Follow the departure of every key."""
        self.expiry.clear()
        self.hidden.clear()
        if order is not None:
            order.clear()
        with self._index_lock:
            if self._index is not None:
                self._index.clear()

    def _index_or_drop(self, record: Record) -> None:
        assert self._index is not None
        try:
            self._index.set(record.key, record.metadata)
        except MemoriesError:
            # The value is stored already: it is the next query, which builds the index anew, that says
            # what cannot be indexed.
            self._index = None

    def query(
        self, metadata_filter: Mapping[str, Any] | None, *, sort: Sort | None, limit: int | None, skip: int
    ) -> list[str]:
        """The keys whose metadata passes the filter. The first call reads every record."""
        with self._index_lock:
            if self._index is None:
                index = MetadataIndex()
                for record in self._records():
                    if not (record.tombstone or record.superseded):
                        index.set(record.key, record.metadata)
                self._index = index
            return self._index.query(metadata_filter, sort=sort, limit=limit, skip=skip)
