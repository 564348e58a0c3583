"""`Migration`: carries out what the `Migrator` plans, in the background and for writers that need room.

In the background so many bytes a second (`MigrationPolicy.max_bytes_per_s`), one batch at a time, so that
the foreground keeps the machine. What a writer waits for is not held up by that. Belongs to the
coordinator's event loop; its loops never die: see their heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from .allowance import Allowance
from .core import commands as cmd
from .core import events as ev
from .core.coordinator import CoordinatorCore
from .core.membership import Phase
from .core.model import Outcome, RequestId
from .heartbeat import Heartbeat
from .migrator import SINKING, Migrator, Plan
from .own_loop import within
from .residents import Noted
from .status import MigrationStatus

log = logging.getLogger(__name__)

ROUND_S = 0.25
SLICES_A_ROUND = 4
CATCH_UP_S = 0.02
"""The pause after a round that has not worked through everything."""
FETCH_PAUSE_S = 0.01
"""So long reads are collected before somebody looks at what they lead to; not the first one."""
IDLE_FETCH_PAUSE_S = 0.1
"""The same where there is nothing that could be brought up."""
MOVE_TIMEOUT_S = 60.0
"""A move that takes longer is left to itself: others go on."""
ROOM_TRIES = 4
"""How often a store that finds no room waits for others to sink."""
MOVES_FOR_ROOM = 4
"""How many of those run at a time."""

Ask = Callable[[ev.ClientEvent], Awaitable[cmd.Reply]]


class Migration:
    """`ask` puts a request to the core, `announce` tells subscribers."""

    def __init__(
        self,
        core: CoordinatorCore,
        migrator: Migrator,
        owner: str,
        ask: Ask,
        announce: Callable[[cmd.Announce], None],
    ) -> None:
        self._core = core
        self._migrator = migrator
        self._client = f"migrator/{owner}"
        self._ask = ask
        self._announce = announce
        self._numbers = itertools.count(1)
        self._allowance = Allowance(migrator.policy.max_bytes_per_s, time.monotonic)
        self._room = asyncio.Semaphore(MOVES_FOR_ROOM)
        self._read = asyncio.Event()
        self._pressed = asyncio.Event()
        self._fetching: set[asyncio.Task[int]] = set()
        self._keys: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self.heartbeats = {name: Heartbeat(name) for name in ("migration", "prefetch")}

    # -- what happens -------------------------------------------------------------------------------

    def note(self, event: ev.ClientEvent, reply: cmd.Reply) -> None:
        """A client's request was answered."""
        match event:
            case ev.LocateMany():
                if event.touch:
                    self._migrator.note_reads(event.keys, reply.located, event.request.client, event.node)
                    self._read.set()
            case ev.StoreMany():
                self._migrator.note(Noted.STORED, event.keys)
            case ev.DeleteMany() | ev.UpdateKeys():
                self._migrator.note(Noted.CHANGED, event.keys)

    def note_announced(self, command: cmd.Announce) -> None:
        """The core said that something has happened."""
        match command.what:
            case "moved":
                self._migrator.note(Noted.MOVED, command.keys)
            case "repaired":
                self._migrator.note(Noted.COPIED, command.keys)
            case "expired":
                self._migrator.note(Noted.CHANGED, command.keys)
            case "joined" | "left":
                self._migrator.note_member(command.member, there=command.what == "joined")

    # -- room for writers ---------------------------------------------------------------------------

    async def make_room(self, event: ev.StoreMany) -> None:
        """Backpressure: a store that would find no room waits until something has sunk.

        Before the core hears of the request, because a request that has failed stays failed.
        """
        options, nbytes = event.options, sum(event.sizes)
        placement = self._core.placement
        for _ in range(ROOM_TRIES):
            if self._core.phase is not Phase.SERVING:
                return
            if placement.enough(options, placement.choose(options, nbytes)):
                return
            async with self._room:
                if placement.enough(options, placement.choose(options, nbytes)):
                    return  # others have made it meanwhile
                self._pressed.set()
                if not await self._free(options.tier or "warm", options.node, nbytes):
                    return

    async def _free(self, tier: str, node: str, nbytes: int) -> bool:
        """Let something sink, and what is in its way below first. Whether there was something."""
        plan = self._migrator.make_room(tier, node, nbytes)
        if plan is None:
            return False
        placement = self._core.placement
        room = [placement.free_bytes(m) for m, info in placement.ready.items() if info.tier == plan.tier]
        if max(room, default=0) < plan.nbytes:
            await self._free(plan.tier, node, plan.nbytes)
        await self._move(plan)
        return True

    async def _move(self, plan: Plan) -> int:
        """Carry out a plan; how many keys have moved."""
        outcomes = None
        try:
            request = RequestId(self._client, next(self._numbers))
            # What was pinned since the plan was made stays where it is.
            move = ev.MoveMany(request, plan.keys, plan.tier, plan.node, unpinned_only=True)
            reply = await within(asyncio.shield(self._ask(move)), MOVE_TIMEOUT_S)
            outcomes = reply.outcomes or (Outcome.OK,) * len(plan.keys)
        except TimeoutError:
            log.warning(
                "moving %d keys to %s takes longer than %g s", len(plan.keys), plan.tier, MOVE_TIMEOUT_S
            )
        finally:
            moved = self._migrator.settle(plan, outcomes)
        if moved:
            self._keys[plan.reason] += moved
            self._bytes[plan.reason] += plan.nbytes * moved // len(plan.keys)
            if plan.reason in SINKING:
                assert outcomes is not None
                pairs = zip(plan.keys, outcomes, strict=True)
                gone = tuple(key for key, outcome in pairs if outcome is Outcome.OK)
                self._announce(cmd.Announce("evicted", plan.member, gone))
        return moved

    # -- loops --------------------------------------------------------------------------------------

    async def run_forever(self) -> None:
        """Follow what happens, and let data sink and rise."""
        beat = self.heartbeats["migration"]
        while True:
            pause_s = ROUND_S
            with beat.beat():
                if self._core.phase is Phase.SERVING:
                    for _ in range(SLICES_A_ROUND):
                        self._migrator.digest()
                        await asyncio.sleep(0)
                    if self._migrator.behind:
                        pause_s = CATCH_UP_S
                    await self._move_all(self._migrator.plan())
            await self._pause(beat.pause_s(pause_s))

    async def _pause(self, pause_s: float) -> None:
        """Until the next round; shorter where a writer has to wait, so that the next one need not."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pressed.wait(), pause_s)
        self._pressed.clear()

    async def _move_all(self, plans: list[Plan]) -> None:
        plans.reverse()
        try:
            while plans:
                while wait_s := self._allowance.wait_s():
                    await asyncio.sleep(wait_s)
                plan = plans.pop()
                self._allowance.spend(plan.nbytes)
                await self._move(plan)
        finally:
            for plan in plans:
                self._migrator.settle(plan, None)

    async def fetch_ahead_forever(self) -> None:
        """Bring up what will be read next, as soon as a read has told."""
        beat = self.heartbeats["prefetch"]
        while True:
            await self._read.wait()
            self._read.clear()
            with beat.beat():
                while self._migrator.may_fetch_ahead and self._migrator.has_news:
                    self._migrator.digest()
                    await asyncio.sleep(0)
                for plan in self._migrator.fetches():
                    task = asyncio.get_running_loop().create_task(self._move(plan))
                    self._fetching.add(task)
                    task.add_done_callback(self._fetching.discard)
            # Not for every read by itself: the loop would take turns with those who read.
            idle = not self._migrator.may_fetch_ahead
            await asyncio.sleep(beat.pause_s(IDLE_FETCH_PAUSE_S if idle else FETCH_PAUSE_S))

    def status(self) -> MigrationStatus:
        """What migration has done, and what it goes by."""
        policy, prediction = self._migrator.policy, self._migrator.prediction
        return MigrationStatus(
            policy=policy.eviction_name,
            max_bytes_per_s=policy.max_bytes_per_s,
            moved_keys=dict(self._keys),
            moved_bytes=dict(self._bytes),
            behind=self._migrator.behind,
            fetched_bytes=prediction.fetched_bytes,
            fetched_in_vain_bytes=prediction.wasted_bytes,
            trusted_patterns=prediction.is_on,
        )
