"""Listings that go on after a failed page, and the count of what is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ...errors import Unavailable
from .objects import Listed, ObjectStore
from .retry import Retry


def list_objects(store: ObjectStore, retry: Retry, prefix: str) -> Iterator[Listed]:
    """The objects with a prefix, a page at a time; a page that fails is asked for again."""
    after = ""
    pages: Iterator[Listed] | None = None

    def step() -> Listed | None:
        nonlocal pages
        if pages is None:
            pages = store.list(prefix, after)
        try:
            return next(pages, None)
        except Unavailable:
            pages = None
            raise

    while True:
        # A store that lists in no order cannot be asked for the rest.
        resumable = store.lists_in_order or not after
        listed = retry.call(step, f"listing {prefix}*") if resumable else step()
        if listed is None:
            return
        after = listed.name
        yield listed


class Usage:
    """How many keys and bytes are stored, once somebody has counted. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: tuple[int, int] | None = None

    def known(self) -> tuple[int, int] | None:
        """Keys and bytes, or None before the first count."""
        with self._lock:
            return self._count

    def count(self, keys: int, nbytes: int) -> tuple[int, int]:
        """What a listing has found."""
        with self._lock:
            self._count = (keys, nbytes)
            return self._count

    def add(self, *, keys: int = 0, nbytes: int = 0) -> None:
        """Follow a change of our own."""
        with self._lock:
            if self._count is not None:
                self._count = (max(self._count[0] + keys, 0), max(self._count[1] + nbytes, 0))

    def forget(self) -> None:
        """The next one who asks has to count again."""
        with self._lock:
            self._count = None
