"""Where memoized results are kept: in a dict, or in a tier."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from ..errors import CapacityExceeded, CorruptData, KeyNotFound
from .expiry import Expiry
from .memo_keys import content_digest
from .tier import Tier


class MemoStore(Protocol):
    """Results by key. `get` raises `KeyNotFound`; `put` drops the least recently used beyond a number."""

    def get(self, key: Hashable) -> Any:
        """The result of a call."""

    def put(self, key: Hashable, result: Any) -> None:
        """Keep the result of a call."""

    def clear(self) -> None:
        """Forget every result."""

    def __len__(self) -> int:
        """How many results there are."""


class DictStore:
    """Results as they are, in this process. Thread-safe."""

    def __init__(self, maxsize: int | None, ttl_s: float | None, clock: Callable[[], float]) -> None:
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._maxsize = maxsize
        self._ttl_s = ttl_s
        self._clock = clock
        self._expiry: Expiry[Hashable] = Expiry()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            self._drop_expired()
            try:
                self._results.move_to_end(key)
                return self._results[key]
            except KeyError:
                raise KeyNotFound("not computed yet") from None

    def put(self, key: Hashable, result: Any) -> None:
        with self._lock:
            self._drop_expired()
            self._results[key] = result
            self._results.move_to_end(key)
            if self._ttl_s is not None:
                self._expiry.set(key, self._clock() + self._ttl_s)
            if self._maxsize is not None and len(self._results) > self._maxsize:
                oldest, _ = self._results.popitem(last=False)
                self._expiry.set(oldest, None)

    def clear(self) -> None:
        with self._lock:
            self._results.clear()
            self._expiry.clear()

    def __len__(self) -> int:
        with self._lock:
            self._drop_expired()
            return len(self._results)

    def _drop_expired(self) -> None:
        if self._ttl_s is not None:
            for key in self._expiry.due(self._clock()):
                self._results.pop(key, None)


class TierStore:
    """Results in a tier, under keys that start with the function's name. Thread-safe.

    Results that were damaged in the meantime, or do not fit, are computed again.
    """

    def __init__(self, tier: Tier, name: str, maxsize: int | None, ttl_s: float | None) -> None:
        self._tier = tier
        self._prefix = f"memoize/{name}/"
        self._maxsize = maxsize
        self._ttl_s = ttl_s
        self._order: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        if maxsize is not None:
            mine = [record for record in tier.records() if record.key.startswith(self._prefix)]
            self._order.update((record.key, None) for record in sorted(mine, key=lambda r: r.created_s))

    def get(self, key: Hashable) -> Any:
        name = self._name(key)
        try:
            result = self._tier.retrieve(name, copy=True)
        except CorruptData as error:
            raise KeyNotFound(f"the kept result is damaged: {error}") from error
        with self._lock:
            if name in self._order:
                self._order.move_to_end(name)
        return result

    def put(self, key: Hashable, result: Any) -> None:
        name = self._name(key)
        try:
            self._tier.store(name, result, ttl=self._ttl_s)
        except CapacityExceeded:
            return
        if self._maxsize is None:
            return
        dropped = []
        with self._lock:
            self._order[name] = None
            self._order.move_to_end(name)
            while len(self._order) > self._maxsize:
                dropped.append(self._order.popitem(last=False)[0])
        self._tier.delete_many(dropped)

    def clear(self) -> None:
        with self._lock:
            self._order.clear()
        self._tier.delete_many(list(self._tier.keys(self._prefix)))

    def __len__(self) -> int:
        return sum(1 for _ in self._tier.keys(self._prefix))

    def _name(self, key: Hashable) -> str:
        return self._prefix + content_digest(_by_name(key))


def _by_name(key: Hashable) -> Any:
    """A key with names in the place of types, which are the same in the next process."""
    if type(key) is tuple:  # a tuple of another type is an argument, which its type alone may compare
        return tuple(map(_by_name, key))
    return f"{key.__module__}.{key.__qualname__}" if isinstance(key, type) else key
