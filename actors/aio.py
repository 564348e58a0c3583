"""`AsyncMemory`: the methods of a `MemoryManager` to be awaited, as in a Jupyter cell or an async actor.

    value = await memory.aio.retrieve("key")
    values = await asyncio.gather(*(memory.aio.retrieve(key) for key in keys))
    async for event in memory.aio.subscribe("evicted"): ...

Every call runs in a thread of its own, so the event loop is never blocked. Cancelling gives up waiting: a
call that was sent goes on to its end or its deadline, as with `ray.get`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..errors import Closed
from .memory_manager import MemoryManager

if TYPE_CHECKING:
    from .subscription import Event

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 64
"""So many calls of one memory may wait at the same time; further ones queue."""


def _awaitable(
    method: Callable[Concatenate[MemoryManager, P], R],
) -> Callable[Concatenate[AsyncMemory, P], Coroutine[Any, Any, R]]:
    @functools.wraps(method)
    async def call(self: AsyncMemory, /, *arguments: P.args, **options: P.kwargs) -> R:
        bound = getattr(self._memory, method.__name__)  # the memory may be of a subclass
        work = functools.partial(bound, *arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    return call


class AsyncMemory:
    """`memory.aio`: each method takes and returns what its namesake of `MemoryManager` does."""

    def __init__(self, memory: MemoryManager) -> None:
        self._memory = memory
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="memories-aio")

    store = _awaitable(MemoryManager.store)
    store_many = _awaitable(MemoryManager.store_many)
    retrieve = _awaitable(MemoryManager.retrieve)
    retrieve_many = _awaitable(MemoryManager.retrieve_many)
    exists = _awaitable(MemoryManager.exists)
    get_tier = _awaitable(MemoryManager.get_tier)
    keys = _awaitable(MemoryManager.keys)
    query = _awaitable(MemoryManager.query)
    delete = _awaitable(MemoryManager.delete)
    delete_many = _awaitable(MemoryManager.delete_many)
    move = _awaitable(MemoryManager.move)
    pin = _awaitable(MemoryManager.pin)
    unpin = _awaitable(MemoryManager.unpin)
    set_priority = _awaitable(MemoryManager.set_priority)
    compress = _awaitable(MemoryManager.compress)
    clear = _awaitable(MemoryManager.clear)
    create_snapshot = _awaitable(MemoryManager.create_snapshot)
    restore_snapshot = _awaitable(MemoryManager.restore_snapshot)
    list_snapshots = _awaitable(MemoryManager.list_snapshots)
    get_memory_usage = _awaitable(MemoryManager.get_memory_usage)
    get_metrics = _awaitable(MemoryManager.get_metrics)

    async def subscribe(self, *kinds: str) -> AsyncIterator[Event]:
        """Events of these kinds (none: of all), from the first step of the iteration on."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        open_it = functools.partial(self._memory.subscribe, *kinds, callback=tell)
        subscription = await loop.run_in_executor(self._threads, open_it)
        try:
            while not subscription.is_closed:
                try:
                    yield await asyncio.wait_for(events.get(), 1.0)
                except TimeoutError:
                    continue
        except Closed:
            return
        finally:
            subscription.cancel()

    def close(self) -> None:
        """Let the threads go; calls under way end by themselves."""
        self._threads.shutdown(wait=False)
