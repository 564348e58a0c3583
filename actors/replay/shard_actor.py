"""`ReplayShard`: the actor around `ShardCore`, one replica of one shard.

Durable when a call returns: with a backup, an acknowledged batch or priority is in the memory of two nodes.
Idempotent: `insert` by (writer, logical shard, number); `update` sets the same priorities again; `sample`
draws anew. A restart loses everything that this replica held; the directory makes it a copy again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from ...errors import InvalidValue, NothingToSample
from ...replay.packed_batch import PackedBatch
from ...replay.rate_limiters import Counters
from .. import logs
from ..heartbeat import Heartbeat
from ..names import coordinator_name
from ..reports import ShardReport
from .core import events as ev
from .core.directory_events import Greeted
from .core.draws import Mass
from .core.model import Replica, ShardView
from .core.replicated import RowsState
from .core.shard import Role, ShardCore
from .core.state_export import StatePiece
from .mover import Mover
from .saves import SavedShard, ShardSaves, write_nameless
from .shard_figures import ShardFigures
from .spec import ReplaySpec

log = logging.getLogger(__name__)

TICK_S = 0.1
REPORT_PAUSE_S = 0.2
OUTCOMES: dict[type, str] = {ev.Done: "ok", ev.NotPrimary: "not primary", ev.Full: "full"}


@dataclass(frozen=True, slots=True)
class ShardSample:
    """Rows that were drawn from one shard; `probabilities` are those within the shard (None: uniform)."""

    columns: Mapping[str, NDArray[Any]]
    handles: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    mass: Mass


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows in the order in which they were inserted, with their priorities where they have some."""

    handles: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    priorities: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class ShardStats:
    """One replica in figures. `inserted` and `sampled` count rows since the shard was made."""

    shard: int
    role: str
    node: str
    view_number: int
    rows: int
    capacity: int
    inserted: int
    sampled: int
    waiting: int
    writers: int
    mass: Mass


class ReplayShard:
    """Feeds the core with events, performs its commands, and answers those who wait."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self,
        cluster: str,
        namespace: str,
        actor: str,
        shard: int,
        node: str,
        spec: bytes,
        log_settings: logs.LogSettings,
    ) -> None:
        logs.set_up(cluster, actor.removeprefix(f"{cluster}/"), log_settings.form, log_settings.level)
        self._cluster, self._namespace = cluster, namespace
        self._spec = ReplaySpec.from_json(spec)
        self._shard = shard
        self._loop = asyncio.get_running_loop()
        self._core = ShardCore(
            Replica(actor, uuid.uuid4().hex, node),
            shard,
            lambda: self._spec.make_buffer(shard),
            time.monotonic,
            ack_early=self._spec.ack == "primary",
            keeps_all=self._spec.ordered,
        )
        self._figures = ShardFigures(self._core, self._spec)
        self._calls = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._peers: dict[str, Any] = {}
        self._reported_s = 0.0
        self._saves = ShardSaves()
        self._mover: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.heartbeat = Heartbeat("tick")
        self._spawn(self._tick_forever())

    # -- what clients call ----------------------------------------------------------------------------

    async def insert(
        self,
        writer: str,
        logical: int,
        number: int,
        floor: int,
        columns: Mapping[str, NDArray[Any]] | PackedBatch,
        priorities: NDArray[np.float64] | None = None,
    ) -> ev.Done | ev.NotPrimary | ev.Full:
        """Take a numbered batch; answers when it is where `ack` wants it."""
        operation = ev.InsertRows(writer, logical, number, floor, columns, priorities)
        answer: ev.Done | ev.NotPrimary | ev.Full = await self._ask(lambda call: ev.Propose(call, operation))
        self._note("insert", f"{writer}/{number}", answer)
        return answer

    async def update(
        self, handles: NDArray[np.int64], priorities: NDArray[np.float64]
    ) -> ev.Done | ev.NotPrimary:
        """Set priorities; `Done.result` is the buffer's `UpdateResult`."""
        operation = ev.SetPriorities(handles, priorities)
        done: ev.Done | ev.NotPrimary = await self._ask(lambda call: ev.Propose(call, operation))
        if isinstance(done, ev.Done):
            self._figures.updated(done.result)
        self._note("update", "", done)
        return done

    async def sample(self, count: int, seed: int | None = None) -> ShardSample | ev.NotPrimary | Mass:
        """Draw rows of this shard; several batches are cut out of one draw. A `Mass`: nothing can be drawn.

        With a seed the draw follows from it and from what is stored.
        """
        if self._core.role is not Role.PRIMARY:
            return ev.NotPrimary(self._core.view)
        if self._spec.ordered:
            raise InvalidValue(f"Rows of a {self._spec.kind} are taken: only `take` tells the backup.")
        rows = self._core.rows
        rng = None if seed is None else np.random.default_rng(seed)
        try:
            batch = rows.buffer.sample(count, 0.0, rng=rng)
        except NothingToSample:
            return self._mass()
        rows.sampled += count
        self._figures.drawn(batch.handles)
        probabilities = batch.probabilities if self._spec.prioritized else None
        return ShardSample(batch.columns, batch.handles, probabilities, self._mass())

    async def take(self, reader: str, logical: int, number: int, count: int) -> ev.Done | ev.NotPrimary:
        """The next rows of a queue or a stack, which leave; the same number gives the same rows again."""
        done = await self._propose(ev.TakeRows(reader, logical, number, count))
        if isinstance(done, ev.Done) and done.result:
            self._figures.drawn(done.result.handles)
        return done

    async def oldest(self, count: int) -> OldRows | ev.NotPrimary:
        """The rows that were stored longest, which stay."""
        if self._core.role is not Role.PRIMARY:
            return ev.NotPrimary(self._core.view)
        buffer = self._core.rows.buffer
        handles = buffer.handles()[:count]
        batch, _ = buffer.read(handles)
        return OldRows(
            handles, batch.columns, buffer.priorities_of(handles) if self._spec.prioritized else None
        )

    async def remove(self, handles: NDArray[np.int64]) -> ev.Done | ev.NotPrimary:
        """These rows leave, as far as they are here; `Done.result` is how many were."""
        return await self._propose(ev.RemoveRows(handles))

    async def replace_rows(self, state: RowsState) -> ev.Done | ev.NotPrimary:
        """Hold these rows in place of all that are here, on every replica."""
        done: ev.Done | ev.NotPrimary = await self._ask(lambda call: ev.Propose(call, ev.ReplaceRows(state)))
        return done

    async def save(self) -> SavedShard | ev.NotPrimary:
        """Write everything, as it is now, to a file that `read_save` gives out, and go on meanwhile."""
        if self._core.role is not Role.PRIMARY:
            return ev.NotPrimary(self._core.view)
        rows = self._core.rows
        # Rows and marks of one moment: nothing is applied between these two lines.
        pending = rows.buffer.begin_checkpoint()
        extra = {"marks": rows.marks.export(), "sampled": rows.sampled}
        count = len(rows.buffer)
        descriptor = await asyncio.to_thread(write_nameless, pending, extra)
        return SavedShard(self._shard, self._saves.keep(descriptor), os.fstat(descriptor).st_size, count)

    async def read_save(self, token: int, offset: int, nbytes: int) -> bytes:
        """A part of a saved file."""
        return await asyncio.to_thread(os.pread, self._saves.descriptor(token), nbytes, offset)

    async def drop_save(self, token: int) -> None:
        """The client has the whole file."""
        self._saves.drop(token)

    async def mass(self) -> Mass | ev.NotPrimary:
        """By what this shard's rows are drawn."""
        return self._mass() if self._core.role is Role.PRIMARY else ev.NotPrimary(self._core.view)

    async def counters(self) -> Counters | ev.NotPrimary:
        """What the rate limiter goes by."""
        if self._core.role is not Role.PRIMARY:
            return ev.NotPrimary(self._core.view)
        rows = self._core.rows
        return Counters(len(rows.buffer), rows.buffer.inserted, rows.sampled)

    async def report(self) -> ShardReport:
        """How this replica is, for the status page."""
        return self._figures.report()

    async def stats(self) -> ShardStats:
        """This replica in figures."""
        core, buffer = self._core, self._core.rows.buffer
        return ShardStats(
            shard=self._shard,
            role=core.role.value,
            node=core.me.node,
            view_number=core.view.number,
            rows=len(buffer),
            capacity=buffer.capacity or 0,
            inserted=buffer.inserted,
            sampled=core.rows.sampled,
            waiting=core.unapplied,
            writers=len(core.rows.marks),
            mass=self._mass(),
        )

    async def take_marks(self, marks: list[Any], taken: tuple[Any, ...] = ()) -> ev.Done | ev.NotPrimary:
        """Batches that another shard has taken, and what it gave to readers: this one answers for it now."""
        return await self._propose(ev.TakeMarks(marks, taken))

    async def drain(self) -> None:
        """Give all rows to the other shards; returns at once, and the directory hears when it is done."""
        if self._core.role is Role.PRIMARY and (self._mover is None or self._mover.done()):
            mover = Mover(
                self._shard, self._spec, self._core.rows, self._propose, self._ask_directory, self._peer
            )
            self._mover = self._loop.create_task(mover.run())

    # -- what the directory and the other replica call ----------------------------------------------------

    async def hello(self) -> Greeted:
        """Who this is, and in which view."""
        core = self._core
        return Greeted(core.me, self._shard, core.view.number, core.in_sync)

    async def adopt(self, view: ShardView) -> Greeted:
        """Act in this view, which is recorded."""
        self._feed(ev.Adopt(view))
        return await self.hello()

    async def accept(
        self, view: ShardView, first: int, operations: tuple[ev.Operation, ...], sampled: int
    ) -> ev.PeerAnswer:
        """From the primary: do these operations."""
        answer: ev.PeerAnswer = await self._ask(
            lambda call: ev.AcceptOperations(call, view, first, operations, sampled)
        )
        return answer

    async def install(self, view: ShardView, applied: int, piece: StatePiece) -> ev.PeerAnswer:
        """From the primary: become its copy, piece by piece."""
        answer: ev.PeerAnswer = await self._ask(lambda call: ev.Install(call, view, applied, piece))
        return answer

    # -- the core and its commands --------------------------------------------------------------------

    async def _propose(self, operation: ev.Operation) -> ev.Done | ev.NotPrimary:
        done: ev.Done | ev.NotPrimary = await self._ask(lambda call: ev.Propose(call, operation))
        return done

    async def _ask(self, make_event: Any) -> Any:
        call = next(self._calls)
        future = self._waiting[call] = self._loop.create_future()
        try:
            self._feed(make_event(call))
            return await future
        finally:
            self._waiting.pop(call, None)

    def _feed(self, event: ev.Event) -> None:
        for command in self._core.handle(event):
            match command:
                case ev.Answer(call, value):
                    future = self._waiting.get(call)
                    if future is not None and not future.done():
                        future.set_result(value)
                case ev.ReportInSync():
                    self._report_in_sync()
                case _:
                    self._spawn(self._send(command))

    async def _send(self, command: ev.SendOperations | ev.SendState) -> None:
        """To the other replica. No answer, for whatever reason, is a lost message: the core repeats it."""
        to, view = command.to, command.view
        answer = ev.PeerAnswer(to, view.number)
        try:
            peer = await self._peer(to.actor)
            if isinstance(command, ev.SendOperations):
                call = peer.accept.remote(view, command.first, command.operations, command.sampled)
            else:
                call = peer.install.remote(view, command.applied, command.piece)
            answer = await call
        except ray.exceptions.RayTaskError:
            log.exception("replica %s failed at %s", to.actor, type(command).__name__)
        except (ray.exceptions.RayError, ValueError):
            self._peers.pop(to.actor, None)
        self._feed(answer)

    async def _peer(self, actor: str) -> Any:
        if actor not in self._peers:
            self._peers[actor] = await asyncio.to_thread(ray.get_actor, actor, self._namespace)
        return self._peers[actor]

    def _report_in_sync(self) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s >= REPORT_PAUSE_S:
            self._reported_s = now_s
            self._spawn(self._tell_directory())

    async def _tell_directory(self) -> None:
        await self._ask_directory("greeted", self._spec.name, await self.hello())

    async def _ask_directory(self, what: str, *arguments: Any) -> Any:
        name = coordinator_name(self._cluster)
        coordinator = await asyncio.to_thread(ray.get_actor, name, self._namespace)
        return await coordinator.replay.remote(what, *arguments)

    async def _tick_forever(self) -> None:
        while True:
            with self.heartbeat.beat():
                self._feed(ev.Tick())
                self._figures.tick()
            await asyncio.sleep(self.heartbeat.pause_s(TICK_S))

    def _note(self, what: str, request: str, answer: ev.Done | ev.NotPrimary | ev.Full) -> None:
        """Log a call, for debugging: the buffer and shard as its key, the view as its version."""
        logs.note_call(
            what,
            key=f"{self._spec.name}/{self._shard}",
            version=self._core.view.number,
            request=request,
            outcome=OUTCOMES[type(answer)],
            failed=False,
        )

    def _mass(self) -> Mass:
        buffer = self._core.rows.buffer
        if not self._spec.prioritized:
            return Mass(float(len(buffer)), len(buffer), 1.0)
        return Mass(*buffer.priority_stats())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("a message of shard %d was lost: %r", self._shard, task.exception())
