"""`threaded`: the Ray actor class around a class of ours whose methods are coroutines.

Ray's own asyncio actors pass every call through two threads and an event loop, twice: it takes half as long
again as one to an actor with threads. Ours has threads, which step into its loop (see `OwnLoop`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import ray

from .own_loop import OwnLoop


def threaded(kind: type, threads: Mapping[str, int], groups: Mapping[str, str]) -> Any:
    """An actor class with the public coroutine methods of `kind`.

    `threads`: how many calls of each group may be under way at the same time. `groups`: the group of a
    method; the others share Ray's ``max_concurrency``. No call may wait for a later one of its group.
    """

    def __init__(self: Any, *arguments: Any) -> None:
        self.loop = OwnLoop(kind.__name__)
        self.actor = self.loop.call(_made(kind, arguments))

    members: dict[str, Any] = {"__init__": __init__, "__doc__": kind.__doc__, "__module__": kind.__module__}
    for name, method in inspect.getmembers(kind, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            call = _blocking(method)
            members[name] = ray.method(concurrency_group=groups[name])(call) if name in groups else call
    remote: Any = ray.remote
    return remote(concurrency_groups=dict(threads))(type(kind.__name__, (), members))


async def _made(kind: type, arguments: tuple[Any, ...]) -> Any:
    return kind(*arguments)


def _blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        return self.loop.call(method(self.actor, *arguments, **named))

    return call
