"""`Mover`: gives a shard's rows to the other shards, exactly once, whatever dies on the way.

What is about to move is recorded in this shard, its backup included, before it is sent: so whoever continues
the shard sends the same rows under the same number, and the other shard takes them once. They leave this
shard when the other has them; for that moment they are in both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import ray

from .core import events as ev
from .core.model import Layout
from .core.replicated import ReplicatedRows
from .spec import ReplaySpec

log = logging.getLogger(__name__)

ROWS_A_MOVE = 2048
PAUSE_S = 0.1


class Mover:
    """One run for one life of the primary; the next primary goes on from what is recorded."""

    def __init__(
        self,
        shard: int,
        spec: ReplaySpec,
        rows: ReplicatedRows,
        propose: Callable[[ev.Operation], Awaitable[ev.Done | ev.NotPrimary]],
        ask_directory: Callable[..., Awaitable[Any]],
        find_actor: Callable[[str], Awaitable[Any]],
    ) -> None:
        self._shard, self._spec, self._rows = shard, spec, rows
        self._propose, self._ask_directory, self._find_actor = propose, ask_directory, find_actor

    async def run(self) -> None:
        """Until everything is gone, or this replica is not the primary any more."""
        if not await self._done(ev.CloseInserts()):
            return
        turn = 0
        # No target gets more than its share, so that none pushes rows out while another has room.
        share = -(-len(self._rows.buffer) // max(1, len((await self._layout()).open_shards)))
        while len(self._rows.buffer) or self._rows.plan is not None:
            if self._rows.plan is None:
                targets = (await self._layout()).open_shards
                handles = self._rows.buffer.handles()[: min(ROWS_A_MOVE, max(1, share))]
                target = targets[turn % len(targets)]
                turn += 1
                if not await self._done(ev.PlanMove(self._rows.moved + 1, target, handles)):
                    return
            plan = self._rows.plan
            if plan is None:
                return
            await self._send(plan)
            if not await self._done(ev.FinishMove(plan.number)):
                return
        heir = (await self._layout()).open_shards[0]
        taken = tuple(self._rows.taken.values())
        await self._ask_shard(heir, "take_marks", self._rows.marks.export(), taken)
        await self._ask_directory("drained", self._spec.name, self._shard, heir)

    async def _send(self, plan: ev.PlanMove) -> None:
        """The rows of the plan, as far as they are still here, as a numbered batch to their new shard."""
        batch, found = self._rows.buffer.read(plan.handles)
        if not found.any():
            return
        priorities = self._rows.buffer.priorities_of(plan.handles)[found] if self._spec.prioritized else None
        writer = f"mover/{self._spec.name}/{self._shard}"
        arguments = (writer, plan.target, plan.number, plan.number, dict(batch.columns), priorities)
        await self._ask_shard(plan.target, "insert", *arguments)

    async def _ask_shard(self, logical: int, method: str, *arguments: Any) -> None:
        """Until the shard, or the one that answers for it now, has done it."""
        while True:
            layout = await self._layout()
            view = layout.view(layout.home_of(logical))
            if view is not None and view.primary is not None:
                try:
                    actor = await self._find_actor(view.primary.actor)
                    answer = await getattr(actor, method).remote(*arguments)
                    if isinstance(answer, ev.Done):
                        if answer.error is not None:
                            raise answer.error
                        return
                except (ray.exceptions.RayError, ValueError) as error:
                    log.info("shard %d does not take what shard %d gives: %r", logical, self._shard, error)
            await asyncio.sleep(PAUSE_S)

    async def _layout(self) -> Layout:
        layout: Layout = await self._ask_directory("layout", self._spec.name)
        return layout

    async def _done(self, operation: ev.Operation) -> bool:
        return isinstance(await self._propose(operation), ev.Done)
