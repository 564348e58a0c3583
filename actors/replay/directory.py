"""`ReplayDirectory`: the coordinator's part of replay, around one `DirectoryCore` for each buffer.

It starts shard actors, greets them, writes layouts to the log and tells everybody; no row passes through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from ...errors import DeadlineExceeded, InvalidValue, KeyNotFound, NotEnoughNodes
from ...replay.rate_limiters import Counters
from ..heartbeat import Heartbeat
from ..launch import start_replay_shard
from ..logs import LogSettings
from ..names import replay_actor_name
from .core import directory_events as dr
from .core.directory import DirectoryCore
from .core.model import Layout, ShardView
from .issuer import CreditIssuer
from .log import ReplayLog
from .spec import ReplaySpec

log = logging.getLogger(__name__)

ROUND_S = 0.5
ROUNDS_A_LOOK = 10
"""So seldom the log is asked whether another directory has written to it."""
HURRY_S = 0.05
CHANGE_POLL_S = 0.02
COUNT_TIMEOUT_S = 2.0


class ReplayDirectory:
    """Belongs to the coordinator's event loop; not thread-safe.

    alive_nodes: gives the nodes that may carry shards.
    """

    def __init__(
        self,
        cluster: str,
        namespace: str,
        alive_nodes: Callable[[], tuple[str, ...]],
        log_settings: LogSettings,
    ) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._log_settings = log_settings
        self._alive_nodes = alive_nodes
        self._log = ReplayLog(cluster)
        self._specs: dict[str, ReplaySpec] = {}
        self._cores: dict[str, DirectoryCore] = {}
        self._issuers: dict[str, CreditIssuer] = {}
        self._handles: dict[str, Any] = {}
        self._greeting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._opening = asyncio.Lock()
        self.heartbeat = Heartbeat("replay")

    async def begin(self) -> None:
        """Take up the buffers that the log names."""
        for name in await asyncio.to_thread(self._log.names):
            spec = await asyncio.to_thread(self._log.spec, name)
            if spec is not None:
                await self._take_up(spec)
        self._spawn(self._watch_forever())

    async def answer(self, what: str, *arguments: Any) -> Any:
        """What `Coordinator.replay` passes on."""
        return await getattr(self, f"_answer_{what}")(*arguments)

    # -- requests -------------------------------------------------------------------------------------

    async def _answer_open(self, spec: ReplaySpec, allow_degraded: bool) -> ReplaySpec:
        """Make a buffer, or find it by its name."""
        async with self._opening:
            if spec.name in self._specs:
                return self._specs[spec.name]
            if len(self._alive_nodes()) < spec.replicas and not allow_degraded:
                raise NotEnoughNodes(
                    f"replay buffer {spec.name!r} asks for {spec.replicas} replicas on distinct nodes, and "
                    f"the cluster has {len(self._alive_nodes())}. Add nodes, use replicas=1, or pass "
                    "allow_degraded=True: the backup is then made when a node joins"
                )
            recorded = await asyncio.to_thread(self._log.add_spec, spec)
            await self._take_up(recorded)
            return recorded

    async def _answer_find(self, name: str) -> ReplaySpec:
        return self._spec(name)

    async def _answer_wait_ready(self, name: str, timeout_s: float) -> Layout:
        """Wait until every shard has its primary, and the backups that there can be."""
        ends_s = time.monotonic() + timeout_s
        while not self._core(name).settled:
            self._hurry.set()
            if time.monotonic() > ends_s:
                raise DeadlineExceeded(
                    f"replay buffer {name!r} was not ready within {timeout_s:g} s; shards without all their "
                    f"replicas: {self._core(name).missing()}"
                )
            await asyncio.sleep(CHANGE_POLL_S)
        return self._core(name).layout

    async def _answer_layout(self, name: str) -> Layout:
        return self._core(name).layout

    async def _answer_suspect(self, name: str) -> Layout:
        """Somebody could not reach a shard: look at them all at once."""
        self._hurry.set()
        return self._core(name).layout

    async def _answer_greeted(self, name: str, greeted: dr.Greeted) -> None:
        """A shard has news."""
        if name in self._cores:
            self._feed(name, greeted)

    async def _answer_credits(
        self, name: str, action: str, rows: int, released: tuple[int, ...]
    ) -> int | None:
        """A lease of the rate limiter."""
        self._spec(name)
        return await self._issuers[name].ask(action, rows, released)

    async def _answer_release(self, name: str, leases: tuple[int, ...]) -> None:
        """Leases of which no more use will be made."""
        if name in self._issuers:
            self._issuers[name].release(leases)

    async def _count(self, name: str) -> dict[int, Counters]:
        """What the primaries have counted; those that do not answer are missing."""
        views = [view for view in self._core(name).layout.shards if view.primary is not None]

        async def of(actor: str) -> Any:
            handle = await self._handle(actor)
            return (
                None if handle is None else await asyncio.wait_for(handle.counters.remote(), COUNT_TIMEOUT_S)
            )

        answers = await asyncio.gather(
            *(of(view.primary.actor) for view in views if view.primary), return_exceptions=True
        )
        return {
            view.shard: answer
            for view, answer in zip(views, answers, strict=True)
            if isinstance(answer, Counters)
        }

    async def _answer_add_shards(self, name: str, count: int) -> None:
        self._core(name)
        self._feed(name, dr.AddShards(count))

    async def _answer_drain_shard(self, name: str, shard: int) -> Layout:
        """Begin to move the rows of a shard to the others; asking again changes nothing."""
        layout = self._core(name).layout
        if layout.view(shard) is not None and shard not in layout.draining:
            if len(layout.open_shards) < 2:
                raise InvalidValue(
                    f"shard {shard} of {name!r} is the last one: there is none to take its rows"
                )
            self._feed(name, dr.DrainShard(shard))
        return layout

    async def _answer_drained(self, name: str, shard: int, heir: int) -> None:
        """A shard has given everything away, its writers' marks to `heir`."""
        if self._core(name).layout.view(shard) is not None:
            self._feed(name, dr.Drained(shard, heir))

    async def _answer_names(self) -> list[str]:
        return sorted(self._specs)

    async def _answer_remove(self, name: str) -> None:
        """End a buffer's actors and forget it."""
        core = self._core(name)
        self._specs.pop(name)
        self._cores.pop(name)
        self._issuers.pop(name, None)
        await asyncio.to_thread(self._log.erase, name)
        for actor in core.actors:
            self._stop_actor(actor)

    def _spec(self, name: str) -> ReplaySpec:
        try:
            return self._specs[name]
        except KeyError:
            raise KeyNotFound(
                f"there is no replay buffer {name!r}; there are {sorted(self._specs) or 'none'}. "
                "Pass a schema to make it"
            ) from None

    def _core(self, name: str) -> DirectoryCore:
        self._spec(name)
        return self._cores[name]

    # -- cores and their commands -----------------------------------------------------------------------

    async def _take_up(self, spec: ReplaySpec) -> None:
        layout = await asyncio.to_thread(self._log.newest, spec.name)
        self._specs[spec.name] = spec
        if spec.rate_limiter is not None:
            self._issuers[spec.name] = CreditIssuer(
                spec.rate_limiter,
                lambda: self._count(spec.name),
                self._spawn,
                after_restart=layout is not None,
            )
        self._cores[spec.name] = DirectoryCore(
            layout,
            shards=spec.shards,
            replicas=spec.replicas,
            silent_s=spec.silent_s,
            actor_name=lambda shard, n: replay_actor_name(self._cluster, spec.name, shard, n),
            clock=time.monotonic,
        )
        self._feed(spec.name, dr.Nodes(self._alive_nodes()))

    def _feed(self, name: str, event: dr.Event) -> None:
        for command in self._cores[name].handle(event):
            match command:
                case dr.Record(layout):
                    self._spawn(self._record(name, layout))
                case dr.Tell():
                    self._spawn(self._tell(name, command))
                case dr.StartReplica(actor, shard, node):
                    self._handles[actor] = start_replay_shard(
                        self._cluster,
                        self._namespace,
                        actor,
                        shard,
                        node,
                        self._specs[name].to_json(),
                        self._log_settings,
                    )
                case dr.StopReplica(actor):
                    self._spawn(self._stop(name, actor))

    async def _record(self, name: str, layout: Layout) -> None:
        if await asyncio.to_thread(self._log.append, name, layout):
            event: dr.Event = dr.Recorded(layout.number)
        else:
            newest = await asyncio.to_thread(self._log.newest, name)
            if newest is None:
                raise InvalidValue(f"the layout of {name!r} was erased while it was written")
            event = dr.Refused(newest)
        if name in self._cores:
            self._feed(name, event)
            self._hurry.set()

    async def _tell(self, name: str, command: dr.Tell) -> None:
        handle = await self._handle(command.replica.actor)
        if handle is None:
            return
        with contextlib.suppress(RayError):
            greeted = await handle.adopt.remote(command.view)
            if name in self._cores:
                self._feed(name, greeted)

    async def _stop(self, name: str, actor: str) -> None:
        """End a replica that serves nothing, unless another coordinator knows better."""
        newest = await asyncio.to_thread(self._log.newest, name)
        members = [m.actor for v in newest.shards for m in v.members] if newest is not None else []
        if actor in members and self._is_on_a_live_node(name, actor):
            return
        self._stop_actor(actor)

    def _is_on_a_live_node(self, name: str, actor: str) -> bool:
        core = self._cores.get(name)
        return core is not None and actor in core.actors and core.node_of(actor) in self._alive_nodes()

    def _stop_actor(self, actor: str) -> None:
        with contextlib.suppress(ValueError):
            handle = self._handles.pop(actor, None) or ray.get_actor(actor, self._namespace)
            ray.kill(handle, no_restart=True)

    async def _handle(self, actor: str) -> Any | None:
        if actor not in self._handles:
            try:
                self._handles[actor] = await asyncio.to_thread(ray.get_actor, actor, self._namespace)
            except ValueError:
                return None
        return self._handles[actor]

    # -- greeting -------------------------------------------------------------------------------------

    async def _watch_forever(self) -> None:
        for number in itertools.count():
            with self.heartbeat.beat():
                for issuer in list(self._issuers.values()):
                    issuer.tick()
                for name, core in list(self._cores.items()):
                    self._feed(name, dr.Nodes(self._alive_nodes()))
                    self._feed(name, dr.Tick())
                    if number % ROUNDS_A_LOOK == 0:
                        self._spawn(self._look(name))
                    for shard in core.layout.draining:
                        self._spawn(self._urge(core.layout.view(shard)))
                    for actor in core.actors:
                        if actor not in self._greeting:
                            self._greeting.add(actor)
                            self._spawn(self._greet(name, actor))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self.heartbeat.pause_s(ROUND_S))
            self._hurry.clear()
            await asyncio.sleep(HURRY_S)

    async def _look(self, name: str) -> None:
        """A coordinator that was replaced may have recorded a last change: nobody else tells of that."""
        newest = await asyncio.to_thread(self._log.newest, name)
        if newest is not None and name in self._cores:
            self._feed(name, dr.Overtaken(newest))

    async def _urge(self, view: ShardView | None) -> None:
        """A shard that is to give its rows away does so, or goes on with it."""
        if view is not None and view.primary is not None:
            handle = await self._handle(view.primary.actor)
            if handle is not None:
                with contextlib.suppress(RayError):
                    await handle.drain.remote()

    async def _greet(self, name: str, actor: str) -> None:
        event: dr.Event | None = None
        try:
            handle = await self._handle(actor)
            if handle is None:
                event = dr.Unreachable(actor, dead=True)
            else:
                event = await asyncio.wait_for(handle.hello.remote(), self._specs[name].silent_s)
        except (TimeoutError, GetTimeoutError, KeyError):
            pass  # the core sees for itself how long it has heard nothing
        except RayActorError:
            self._handles.pop(actor, None)
            event = dr.Unreachable(actor, dead=await self._handle(actor) is None)
        except RayError:
            log.exception("replay shard %s cannot start", actor)
            event = dr.Unreachable(actor, dead=True)
        finally:
            self._greeting.discard(actor)
        if event is not None and name in self._cores:
            self._feed(name, event)

    async def stop(self) -> None:
        """End all shard actors and forget the buffers: their rows were in memory."""
        for task in list(self._tasks):
            task.cancel()
        for name, core in self._cores.items():
            for actor in core.actors:
                self._stop_actor(actor)
            await asyncio.to_thread(self._log.erase, name)
        self._cores.clear()
        self._specs.clear()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a message of the replay directory was lost", exc_info=task.exception())
