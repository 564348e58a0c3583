"""`Inventory`: what a tier remembers of its keys besides their blobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import MemoriesError
from .eviction import EvictionOrder
from .expiry import Expiry
from .query import MetadataIndex
from .query.index import TooManyFields
from .query.sorting import Sort
from .record import Record

log = logging.getLogger(__name__)


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
        hidden = record.is_mark
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
        with self._index_lock:  # also for the end of life: an index that is being built sets the older one
            if record.expires_s is not None or self.expiry:
                self.expiry.set(key, record.expires_s)
            if self._index is not None:
                if hidden:
                    self._index.remove(key)
                else:
                    try:
                        _set_or_leave_out(self._index, record)
                    except TooManyFields:
                        # The value is stored already: it is the next query, which builds the index anew,
                        # that says so.
                        self._index = None

    def forget(self, key: str) -> None:
        """Follow the departure of a key."""
        self.hidden.discard(key)
        order = self._order_of(key)
        if order is not None:
            order.discard(key)
        with self._index_lock:
            self.expiry.set(key, None)
            if self._index is not None:
                self._index.remove(key)

    def touch(self, key: str) -> None:
        """Note that the key was read."""
        order = self._order_of(key)
        if order is not None:
            order.touch(key)

    def clear(self, order: EvictionOrder | None) -> None:
        """Follow the departure of every key."""
        self.hidden.clear()
        if order is not None:
            order.clear()
        with self._index_lock:
            self.expiry.clear()
            if self._index is not None:
                self._index.clear()

    def build_index(self) -> None:
        """Read every record into the metadata index, unless that has been done; ends of life too, which
        are not known where no inventory was read."""
        with self._index_lock:
            if self._index is None:
                index = MetadataIndex()
                for record in self._records():
                    if record.expires_s is not None:
                        self.expiry.set(record.key, record.expires_s)
                    if not record.is_mark:
                        _set_or_leave_out(index, record)
                self._index = index

    def query(
        self, metadata_filter: Mapping[str, Any] | None, *, sort: Sort | None, limit: int | None, skip: int
    ) -> list[str]:
        """The keys whose metadata passes the filter. The first call reads every record."""
        while True:
            self.build_index()
            with self._index_lock:
                if self._index is not None:
                    return self._index.query(metadata_filter, sort=sort, limit=limit, skip=skip)


def _set_or_leave_out(index: MetadataIndex, record: Record) -> None:
    """Put a record into the index, or say why not: one that came from elsewhere must not keep the others
    from being found. Raises `TooManyFields`, for which no one record is to blame."""
    try:
        index.set(record.key, record.metadata)
    except TooManyFields:
        raise
    except MemoriesError as error:
        index.remove(record.key)
        log.warning("%r is left out of queries: its metadata cannot be indexed: %s", record.key, error)
