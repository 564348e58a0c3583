"""`CreditIssuer`: the rate limiter of one buffer, in the coordinator's event loop around `CreditsCore`."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from ...replay.rate_limiters import Counters, SamplesPerInsert
from .core.credits import Action, Ask, Command, Counted, CountShards, CreditsCore, Grant, Release, Tick

log = logging.getLogger(__name__)

COUNT_PAUSE_S = 0.02
"""While somebody waits the shards are asked for their counts again and again, with such pauses."""


class CreditIssuer:
    """Not thread-safe. `count` asks the primaries; `spawn` runs a coroutine beside."""

    def __init__(
        self,
        limiter: SamplesPerInsert,
        count: Callable[[], Awaitable[Mapping[int, Counters]]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        after_restart: bool,
    ) -> None:
        self._core = CreditsCore(limiter, time.monotonic, after_restart=after_restart)
        self._count, self._spawn = count, spawn
        self._calls = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[int | None]] = {}

    async def ask(self, action: str, rows: int, released: Sequence[int]) -> int | None:
        """A lease for so many rows; None where there is none within a second: ask again."""
        self.release(released)
        call = next(self._calls)
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[call] = future
        try:
            self._perform(self._core.handle(Ask(call, Action(action), rows)))
            return await future
        finally:
            self._waiting.pop(call, None)

    def release(self, leases: Sequence[int]) -> None:
        """What these leases were for is done."""
        if leases:
            self._perform(self._core.handle(Release(tuple(leases))))

    def tick(self) -> None:
        """Time has passed."""
        self._perform(self._core.handle(Tick()))

    def _perform(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Grant(call, lease):
                    future = self._waiting.get(call)
                    if future is not None and not future.done():
                        future.set_result(lease)
                case CountShards():
                    self._spawn(self._count_shards())

    async def _count_shards(self) -> None:
        await asyncio.sleep(COUNT_PAUSE_S)
        began_s, by_shard = time.monotonic(), {}
        try:
            by_shard = dict(await self._count())
        except Exception:
            log.exception("the shards could not be counted; the next tick tries again")
        self._perform(self._core.handle(Counted(began_s, by_shard)))
