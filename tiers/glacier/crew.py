"""`Crew`: the threads that wait for the network, made when first needed and ended by `close`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from ...errors import Closed

T = TypeVar("T")
R = TypeVar("R")


class Crew:
    """Two pools of equal size: one for whole blobs, one for the parts of a blob.

    They are apart because whoever works on a blob waits for its parts: in a single pool all threads could
    be waiting. Thread-safe.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._closed = False

    @property
    def parts(self) -> Executor:
        """For requests that belong to one blob. What runs here must not wait for other work here."""
        return self._pool("parts")

    def map(self, action: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results in the order of the items, at most two rounds of items ahead of the caller.

        The first error is raised in its place; what has begun by then is waited for, the rest is not begun.
        """
        pool = self._pool("blobs")
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(action, item))
                if len(waiting) >= 2 * self.size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            settle(waiting)

    def close(self) -> None:
        """End the threads after what they are doing."""
        with self._lock:
            self._closed = True
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self, name: str) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise Closed("this glacier memory was closed")
            if name not in self._pools:
                self._pools[name] = ThreadPoolExecutor(self.size, thread_name_prefix=f"glacier-{name}")
            return self._pools[name]


def settle(futures: Iterable[Future[R]]) -> None:
    """Cancel what has not begun and wait for the rest, whatever becomes of it."""
    begun = [future for future in futures if not future.cancel()]
    for future in begun:
        future.exception()
