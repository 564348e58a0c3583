"""`Coordinator`: the actor around the coordinator core. All decisions are in `actors.core`.

Durable when a call returns: whatever the request asked for; the coordinator itself keeps nothing but the
membership log in Ray's key-value store. Idempotent: every request, by its id. Lost at a restart: the
catalog, which is made again from the members' inventories; meanwhile requests wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import time
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import ray

from .. import __version__
from ..errors import DeadlineExceeded, Unavailable
from ..tiers.policies import MigrationPolicy
from . import logs, wire
from .activity import Activity
from .config import ActorSettings, ClusterConfig
from .core import commands as cmd
from .core import events as ev
from .core.coordinator import CoordinatorCore
from .core.membership import Phase
from .core.model import CoreConfig, MemberId, MemberInfo
from .cuts import Cut, Cuts
from .drains import Drains
from .heartbeat import Heartbeat
from .metrics import MetricsExport
from .migration import Migration
from .migrator import Migrator
from .nodes import GREETING_TIMEOUT_S, NodeWatch
from .observer import Observer
from .own_loop import OwnLoop, answer_of, within
from .pending import GONE_AFTER_S, PendingRequests
from .replay.directory import ReplayDirectory
from .snapshots import SnapshotMaker
from .status import Snapshot
from .subscription import Announcements
from .view_log import ViewLog

log = logging.getLogger(__name__)

TICK_S = 0.1
ASK_AGAIN_S = 0.25
"""After so long the core is asked again where it has no answer yet."""


class Coordinator:
    """Feeds the core with events, performs its commands, and answers those who wait."""

    def __init__(self, cluster: str, namespace: str, config: ClusterConfig, core: CoreConfig) -> None:
        logs.set_up(cluster, "coordinator", config.log_format, config.log_level)
        self.cluster = cluster
        self._config = config
        self._loop = OwnLoop.running()
        self._owner = f"{ray.get_runtime_context().get_actor_id()}/{uuid.uuid4().hex}"
        self._core = CoordinatorCore(
            owner=self._owner,
            clock=time.monotonic,
            wall_clock=time.time,
            config=core,
        )
        # Until the catalog is there: a million entries are made, which stay and have no cycles, and the
        # collector would walk all of them again and again, for half of the time of a rebuild.
        gc.disable()
        self._log = ViewLog(cluster, config.instance)
        self._drains = Drains(cluster)
        self._pending = PendingRequests(self._loop, self._feed)
        self._activity = Activity()
        self._announced = asyncio.Event()
        self._nodes = NodeWatch(cluster, namespace, config)
        self._log_settings = logs.LogSettings(config.log_format, config.log_level)
        self._replay = ReplayDirectory(cluster, namespace, self._nodes.carriers, self._log_settings)
        self._tasks: set[asyncio.Task[None]] = set()
        policy = config.migration_policy or MigrationPolicy()
        migrator = Migrator(self._core.catalog, self._core.placement, time.monotonic, policy)
        self._migration = Migration(self._core, migrator, self._owner, self._ask_core, self._announce)
        self.heartbeats = {name: Heartbeat(name) for name in ("tick", "nodes")} | self._migration.heartbeats
        self.heartbeats["replay"] = self._replay.heartbeat
        self._cuts = Cuts(self._core)
        self._known_nodes: frozenset[str] = frozenset()
        self._metrics = MetricsExport(cluster, self.status)
        self.heartbeats["metrics"] = self._metrics.heartbeat
        self._observer = Observer(cluster, namespace)
        self._nodes.is_watched = lambda: self._observer.watched
        self._snapshots = SnapshotMaker(
            cluster, self._core, self._nodes, self._activity, self._observer, self.heartbeats.values()
        )
        self._started = self._spawn(self._start())

    # -- what clients call --------------------------------------------------------------------------

    async def ask(self, message: bytes | ev.ClientEvent) -> bytes:
        """Answer a request. Asking again with the same request id joins the first, or gets its answer.

        Both as `wire` makes them.
        """
        answer: bytes = wire.dump(await self._reply(wire.load(message)))
        return answer

    async def _reply(self, event: ev.ClientEvent) -> cmd.Reply:
        given = self._pending.answer_to(event.request)
        if given is not None:
            return given
        if isinstance(event, ev.StoreMany):
            await asyncio.shield(self._started)
            await self._migration.make_room(event)
        reply = await self._ask_core(event, time.monotonic() + GONE_AFTER_S)
        self._migration.note(event, reply)
        logs.note_request(event, reply)
        if isinstance(event, ev.LocateMany) and event.touch:
            self._activity.located(event.keys, reply.located)
        return reply

    async def _ask_core(self, event: ev.ClientEvent, until_s: float = math.inf) -> cmd.Reply:
        await asyncio.shield(self._started)
        if isinstance(event, ev.StoreMany | ev.DeleteMany | ev.UpdateKeys):
            await self._cuts.wait(event.keys)
            given = self._pending.answer_to(event.request)
            if given is not None:
                return given
        return await self._pending.ask(event, until_s)

    async def tell(self, event: ev.Event) -> None:
        """Pass on an event that has no answer: a corrupt copy, an operator's decision."""
        await asyncio.shield(self._started)
        self._feed(event)

    async def events_after(self, source: str, after: int, timeout_s: float) -> Announcements:
        """What has happened since announcement `after` of the life `source`; waits up to `timeout_s` for
        the first. Of another life: everything since this one began; of none: nothing, only where it is."""
        activity = self._activity
        if source == self._owner and activity.newest_number <= after:
            with contextlib.suppress(TimeoutError):
                await within(self._announced.wait(), timeout_s)
        if source and source != self._owner:
            after = 0
        found = activity.since(after) if source else ()
        missed = found[0].number - after - 1 if found else 0
        return Announcements(self._owner, activity.newest_number, found, missed)

    async def differences(self, config: ClusterConfig) -> tuple[str, ...]:
        """Which fields of a configuration this cluster does not run with."""
        return self._config.differences(config)

    async def members(self, all_known: bool = False) -> tuple[MemberInfo, ...]:
        """The members that can be read and written, once the catalog is known. `all_known`: raises
        `Unavailable` while a disk is away and nobody knows what it holds."""
        await asyncio.shield(self._started)
        ends_s = time.monotonic() + GONE_AFTER_S
        while self._core.phase is not Phase.SERVING:
            if time.monotonic() > ends_s:
                raise Unavailable(f"cluster {self.cluster!r} waits for the inventories of its members")
            await asyncio.sleep(TICK_S / 2)
        unknown = self._core.queries.unknown_contents()
        if all_known and unknown:
            raise Unavailable(unknown)
        return tuple(self._core.placement.ready.values())

    async def actor_name(self, member: MemberId) -> str | None:
        """The name of the actor that is this member now."""
        return self._nodes.actor_name(member)

    async def wait_ready(self, timeout_s: float) -> str:
        """Wait until the catalog is known and every tier of every node is there; the version of this code."""
        await asyncio.shield(self._started)
        ends_s = time.monotonic() + timeout_s
        while True:
            serving = self._core.phase is Phase.SERVING
            missing = self._nodes.missing(self._core.placement)
            failure = self._nodes.why_nobody()
            if failure is not None:
                raise Unavailable(f"no tier of cluster {self.cluster!r} could be started: {failure}")
            if serving and not missing:
                return __version__
            if time.monotonic() > ends_s:
                raise DeadlineExceeded(
                    f"cluster {self.cluster!r} was not ready within {timeout_s:g} s; it waits for "
                    f"{', '.join(missing) or 'the inventories of its members'}"
                )
            await asyncio.sleep(TICK_S / 2)

    async def status(self) -> Snapshot:
        """One picture of the cluster, from what the coordinator knows. Replay shards and Memoria actors
        are asked at most once a second, and waited for a moment only."""
        await self._observer.look()
        return replace(self._snapshots.take(), migration=self._migration.status())

    async def begin_cut(self) -> Cut:
        """A point in time for a snapshot; until it has read a key, writers of that key wait."""
        await asyncio.shield(self._started)
        return await self._cuts.begin()

    async def read_cut(self, cut: str, keys: tuple[str, ...], last: bool) -> tuple[str, ...]:
        """These keys of a cut have been read; `last`: it is not needed any more. What to read next."""
        urgent = self._cuts.read(cut, keys)
        if last:
            self._cuts.end(cut)
        return urgent

    async def drain(self, node: str, undo: bool = False) -> None:
        """Begin to move everything off a node, or let it take data again."""
        await asyncio.to_thread(self._drains.remove if undo else self._drains.add, node)
        await self.tell(ev.DrainNode(node, undo))

    async def declare_gone(self, disk: MemberId) -> bool:
        """Do not wait for a disk any more, now or when it returns. False where it is not away (any more)."""
        await asyncio.shield(self._started)
        membership = self._core.membership
        if disk in membership.away:
            self._feed(ev.DeclareGone(disk))
        return disk in membership.away

    async def replay(self, what: str, *arguments: Any) -> Any:
        """A request about replay buffers (see `ReplayDirectory`)."""
        await asyncio.shield(self._started)
        return await self._replay.answer(what, *arguments)

    async def stop(self, delete: bool) -> None:
        """End all tier actors. `delete`: they remove their durable data first."""
        await asyncio.shield(self._started)
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await self._replay.stop()
        await self._nodes.stop_all(delete)
        if delete:
            await asyncio.to_thread(self._log.erase)
            await asyncio.to_thread(self._drains.erase)

    async def actor_settings(self) -> ActorSettings:
        """How actors of this cluster are to be started by drivers."""
        return ActorSettings(self._log_settings, dict(ray.get_runtime_context().runtime_env))

    async def ping(self) -> int:
        """One round trip."""
        return 1

    # -- the core and its commands --------------------------------------------------------------------

    async def _start(self) -> None:
        view = await asyncio.to_thread(self._log.newest)
        members = await self._nodes.ensure_and_greet(GREETING_TIMEOUT_S)
        draining = await asyncio.to_thread(self._drains.nodes)
        self._feed(ev.Start(view, members))
        for node in draining:
            self._feed(ev.DrainNode(node))
        await self._replay.begin()
        self._spawn(self._tick_forever())
        self._spawn(self._watch_forever())
        self._spawn(self._metrics.run_forever())
        self._spawn(self._migration.run_forever())
        self._spawn(self._migration.fetch_ahead_forever())

    def _feed(self, event: ev.Event) -> None:
        for command in self._core.handle(event):
            self._perform(command)

    def _perform(self, command: cmd.Command) -> None:
        match command:
            case cmd.Reply():
                self._pending.answer(command)
            case cmd.AskAgain():
                self._loop.call_later(ASK_AGAIN_S, self._pending.ask_again, command.request)
            case cmd.Announce():
                self._announce(command)
            case cmd.PersistView() | cmd.CheckView():
                self._spawn(self._consult_log(command))
            case cmd.ResetMember() | cmd.Quarantine():
                self._spawn(self._order(command))
            case cmd.Stop():
                log.warning("this coordinator stops: %s", command.reason)
                ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
            case _:
                self._loop.begin(self._send(command), self._tasks)

    async def _send(self, command: cmd.MemberCommand) -> None:
        """A command to a member. No answer, for whatever reason, is a lost message: the core repeats it."""
        member = command.fence.member
        handle = self._nodes.handle(member)
        if handle is None:
            return
        try:
            if isinstance(command, cmd.CopyMany):
                # With its name: who has to ask for it loads our class first, while a writer waits for room.
                answer = handle.execute.remote(wire.dump(command), self._nodes.actor_name(command.source))
            else:
                answer = handle.execute.remote(wire.dump(command))
            self._feed(wire.load(await answer_of(answer)))
        except ray.exceptions.RayTaskError as error:
            log.error("%s failed: %s", type(command).__name__, error, extra={"member": member})
        except ray.exceptions.RayError:
            self._nodes.suspect(member)

    async def _order(self, command: cmd.ResetMember | cmd.Quarantine) -> None:
        handle = self._nodes.handle(command.member)
        if handle is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                await handle.order.remote(command)

    async def _consult_log(self, command: cmd.PersistView | cmd.CheckView) -> None:
        asked_s = time.monotonic()
        if isinstance(command, cmd.PersistView):
            view = command.view
            if await asyncio.to_thread(self._log.append, view):
                self._feed(ev.ViewPersisted(view.number, asked_s))
                return
            newest = await asyncio.to_thread(self._log.newest)
            if newest is not None:
                self._feed(ev.ViewRefused(newest, asked_s))
            return
        newer = await asyncio.to_thread(self._log.entry, command.number + 1)
        if newer is not None:
            newer = await asyncio.to_thread(self._log.newest)
        self._feed(ev.ViewChecked(command.number, command.asked_s, newer))

    def _announce(self, command: cmd.Announce) -> None:
        self._activity.announce(command)
        self._migration.note_announced(command)
        if command.what == "serving":
            gc.freeze()  # the collector leaves alone what the rebuild made
            gc.enable()
        about = {"member": command.member, "keys": len(command.keys), "key": next(iter(command.keys), None)}
        log.info(command.what, extra=about)
        self._announced.set()
        self._announced = asyncio.Event()

    # -- loops ------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            with self.heartbeats["tick"].beat():
                self._feed(ev.Tick())
                self._cuts.expire()
                self._pending.release_the_gone()
            await asyncio.sleep(TICK_S)

    async def _watch_forever(self) -> None:
        while True:
            with self.heartbeats["nodes"].beat():
                greeted = await self._nodes.ensure_and_greet()
                self._note_nodes()
                await self._follow_drains()
                live = self._core.membership.live
                for info in list(live.values()):
                    if self._nodes.is_lost(info):
                        self._feed(ev.MemberLost(info.member, info.incarnation))
                for info in greeted:
                    present = live.get(info.member)
                    if present is None or present.incarnation != info.incarnation:
                        self._feed(ev.MemberJoined(info))
            await self._nodes.wait()

    async def _follow_drains(self) -> None:
        draining = await asyncio.to_thread(self._drains.nodes)
        known = self._core.placement.draining
        for node in draining - known:
            self._feed(ev.DrainNode(node))
        for node in known - draining:
            if self._nodes.is_up(node):  # of one that has gone it is to be remembered that it was empty
                self._feed(ev.DrainNode(node, undo=True))

    def _note_nodes(self) -> None:
        """Tell subscribers of nodes that have come or gone."""
        alive = frozenset(self._nodes.carriers())
        for node in sorted(alive - self._known_nodes):
            self._announce(cmd.Announce("node joined", node))
        for node in sorted(self._known_nodes - alive):
            self._announce(cmd.Announce("node lost", node))
        self._known_nodes = alive

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
