"""`KeyLocks`: one writer a key, many keys at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager


class KeyLocks:
    """A fixed set of locks shared by all keys: two writers of one key always meet on the same lock.

    Several keys are locked in one fixed order, so that two callers cannot wait for each other.
    """

    def __init__(self, stripes: int = 64) -> None:
        self._locks = [threading.RLock() for _ in range(stripes)]

    @contextmanager
    def hold(self, keys: Iterable[str]) -> Iterator[None]:
        """Hold the locks of all the keys."""
        stripes = sorted({hash(key) % len(self._locks) for key in keys})
        with ExitStack() as stack:
            for stripe in stripes:
                stack.enter_context(self._locks[stripe])
            yield

    @contextmanager
    def hold_all(self) -> Iterator[None]:
        """Hold the locks of all keys: no write is under way."""
        with ExitStack() as stack:
            for lock in self._locks:
                stack.enter_context(lock)
            yield
