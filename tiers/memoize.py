"""`memoize`: results of expensive functions, kept for a while, or beyond the process."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Hashable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast, overload

from ..errors import InvalidType, InvalidValue, KeyNotFound, LockHeld
from .memo_keys import CallKeys, comparable, function_name
from .memo_stores import DictStore, MemoStore, TierStore
from .tier import Tier
from .user_folder import user_folder
from .validation import check_choice, check_ttl

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_TIERS = ("hot", "warm", "cold")


class CacheInfo(NamedTuple):
    """As that of `functools.lru_cache`.

    Examples:
        >>> @memoize(maxsize=10)
        ... def square(x):
        ...     return x * x
        >>> [square(3) for _ in range(3)]
        [9, 9, 9]
        >>> square.cache_info()
        CacheInfo(hits=2, misses=1, maxsize=10, currsize=1)
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class Memoized(Protocol[P, R_co]):
    """A memoized function."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The result, computed or remembered."""

    def cache_info(self) -> CacheInfo:
        """How often it was remembered."""

    def cache_clear(self) -> None:
        """Forget every result and the counts."""


@overload
def memoize(function: Callable[P, R], /) -> Memoized[P, R]: ...


@overload
def memoize(
    *,
    ttl: float | None = None,
    maxsize: int | None = None,
    tier: str | Tier | None = None,
    key: Callable[..., Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[Callable[P, R]], Memoized[P, R]]: ...


def memoize(
    function: Callable[..., Any] | None = None,
    /,
    *,
    ttl: float | None = None,
    maxsize: int | None = None,
    tier: str | Tier | None = None,
    key: Callable[..., Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Remember the results of a function: ``@memoize``, ``@memoize(ttl=5)``.

    `ttl` is how many seconds a result is good for; `maxsize` how many are kept (the least recently used
    go first). By default results stay in the process as they are, and every caller gets the same object.
    With a `tier` each caller gets a copy: "warm" and "hot" have a budget of 1 GB and evict, "cold" (10
    GB in the user's data folder, one folder a function) survives the process, and a tier of your own is
    used as it is. Results of an older version of the function's code are not used.

    Arguments may be anything: arrays, tensors, lists and mappings are compared by their contents.
    ``key=`` is a function of the arguments that says what to compare instead.

    Threads (or tasks) that ask for the same call at once compute it once. Exceptions are passed on to
    all of them and not remembered. Works on functions, methods and async functions; generators, which
    have no result to keep, are refused. `clock` times results that stay in the process.

    Examples:
        >>> @memoize(ttl=60)
        ... def total(array):
        ...     print("computing")
        ...     return float(array.sum())
        >>> import numpy as np
        >>> total(np.ones(3)), total(np.ones(3))
        computing
        (3.0, 3.0)
    """
    if function is not None and not callable(function):
        raise InvalidType("write @memoize or @memoize(ttl=...): the options are named")
    ttl_s = check_ttl(ttl)
    if maxsize is not None and (type(maxsize) is not int or maxsize < 1):
        raise InvalidValue(f"maxsize must be a whole number above 0 or None, not {maxsize!r:.60}")
    if isinstance(tier, str):
        check_choice("tier", tier, _TIERS)
    elif tier is not None and not isinstance(tier, Tier):
        raise InvalidType(f"tier must be one of {_TIERS}, a tier or None, not {type(tier).__name__}")

    def decorate(target: Callable[..., Any]) -> Any:
        unwrapped = inspect.unwrap(target)
        if inspect.isgeneratorfunction(unwrapped) or inspect.isasyncgenfunction(unwrapped):
            raise InvalidType(f"{target.__qualname__} is a generator, which has no result that could be kept")
        store = _LazyStore(lambda: _make_store(target, tier, maxsize, ttl_s, clock))
        keys = CallKeys(target)
        key_of = keys.of if key is None else lambda args, kwargs: comparable(key(*args, **kwargs))
        memo = _Memo(target, store, key_of, maxsize)
        wrapper = memo.async_call if inspect.iscoroutinefunction(unwrapped) else memo.call

        if inspect.iscoroutinefunction(unwrapped):

            @functools.wraps(target)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                return await wrapper(args, kwargs)
        else:

            @functools.wraps(target)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                return wrapper(args, kwargs)

        wrapped.cache_info = memo.info  # type: ignore[attr-defined]
        wrapped.cache_clear = memo.clear  # type: ignore[attr-defined]
        return wrapped

    return decorate if function is None else decorate(function)


class _Flight:
    """A computation that is under way, and what came of it."""

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self.landed = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


class _Memo:
    """One memoized function: its store, its counts, and the calls that are under way."""

    def __init__(
        self,
        function: Callable[..., Any],
        store: _LazyStore,
        key_of: Callable[[tuple[Any, ...], dict[str, Any]], Hashable],
        maxsize: int | None,
    ) -> None:
        self._function = function
        self._store = store
        self._key_of = key_of
        self._maxsize = maxsize
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[Any]] = {}
        self._hits = 0
        self._misses = 0

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call: kept, awaited from the thread that computes it, or computed."""
        key = self._key_of(args, kwargs)
        store = self._store.get()
        try:
            result = store.get(key)
        except KeyNotFound:
            pass
        else:
            self._count(hit=True)
            return result
        with self._lock:
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not mine:
            if flight.owner == threading.get_ident():
                return self._function(*args, **kwargs)  # it calls itself: waiting would be for ever
            flight.landed.wait()
            self._count(hit=True)
            if flight.error is not None:
                raise flight.error
            return flight.result
        try:
            # Another thread may have landed between the look into the store and the take-off.
            try:
                flight.result = store.get(key)
                self._count(hit=True)
            except KeyNotFound:
                self._count(hit=False)
                flight.result = self._function(*args, **kwargs)
                store.put(key, flight.result)
            return flight.result
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.landed.set()

    async def async_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As `call`, for tasks. The computation is a task of its own: a caller that is cancelled does not
        take it away from the others."""
        key = self._key_of(args, kwargs)
        store = self._store.get()
        try:
            result = store.get(key)
        except KeyNotFound:
            pass
        else:
            self._count(hit=True)
            return result
        place = (asyncio.get_running_loop(), key)
        task = self._tasks.get(place)
        self._count(hit=task is not None)
        if task is None:
            task = place[0].create_task(self._compute(key, args, kwargs))
            self._tasks[place] = task
            task.add_done_callback(lambda done: self._landed(place, done))
        return await asyncio.shield(task)

    async def _compute(self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = await cast(Coroutine[Any, Any, Any], self._function(*args, **kwargs))
        self._store.get().put(key, result)
        return result

    def _landed(self, place: tuple[asyncio.AbstractEventLoop, Hashable], task: asyncio.Task[Any]) -> None:
        self._tasks.pop(place, None)
        if not task.cancelled():
            task.exception()  # so that nobody is told that it was never looked at

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(self._hits, self._misses, self._maxsize, len(self._store.get()))

    def clear(self) -> None:
        with self._lock:
            self._hits = self._misses = 0
        self._store.get().clear()

    def _count(self, *, hit: bool) -> None:
        with self._lock:
            if hit:
                self._hits += 1
            else:
                self._misses += 1


class _LazyStore:
    """A store that is made by the first call: decorating touches no disk and imports nothing."""

    def __init__(self, make: Callable[[], MemoStore]) -> None:
        self._make = make
        self._store: MemoStore | None = None
        self._lock = threading.Lock()

    def get(self) -> MemoStore:
        store = self._store
        if store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._make()
                store = self._store
        return store


def _make_store(
    function: Callable[..., Any],
    tier: str | Tier | None,
    maxsize: int | None,
    ttl_s: float | None,
    clock: Callable[[], float],
) -> MemoStore:
    if tier is None:
        return DictStore(maxsize, ttl_s, clock)
    name = function_name(function)
    if isinstance(tier, Tier):
        return TierStore(tier, name, maxsize, ttl_s)
    if tier == "hot":
        from .hot_memory import HotMemory

        return TierStore(HotMemory(1, on_full="evict"), name, maxsize, ttl_s)
    if tier == "warm":
        from .warm_memory import WarmMemory

        return TierStore(WarmMemory(1, on_full="evict"), name, maxsize, ttl_s)
    try:
        return TierStore(_cold_memory(name), name, maxsize, ttl_s)
    except LockHeld as error:
        warnings.warn(
            f"results of {function.__qualname__} stay in this process only, since another process keeps them "
            f"on the disk at present ({error})",
            RuntimeWarning,
            stacklevel=3,
        )
        return DictStore(maxsize, ttl_s, clock)


_cold_memories: dict[tuple[int, Path], Tier] = {}
_cold_lock = threading.Lock()


def _cold_memory(name: str) -> Tier:
    """The folder of a function's results, opened once a process: a notebook cell that is run again
    defines the same function anew."""
    from .cold_memory import ColdMemory

    folder = user_folder("memoize", name)
    with _cold_lock:
        place = (os.getpid(), folder)
        if place not in _cold_memories:
            _cold_memories[place] = ColdMemory(10, folder, on_full="evict")
        return _cold_memories[place]
