"""A replay buffer's whole cluster in one process, from a seed: replicas, directory, writers, a learner.

The cores are the real ones, buffers included; the network loses, repeats and reorders, processes crash and
stall, nodes are cut off, and now and then a second directory begins while the first only sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from memories.actors.replay.core import directory_events as dr
from memories.actors.replay.core import events as ev
from memories.actors.replay.core.directory import DirectoryCore
from memories.actors.replay.core.model import Layout, Replica
from memories.actors.replay.core.shard import Role, ShardCore
from memories.replay import PrioritizedReplayBuffer, Schema

SCHEMA = Schema({"row": "int64"})
CAPACITY = 4_000
ROWS_A_BATCH = 3
NEW_PRIORITY = 0.5
SILENT_S = 3.0


@dataclass(slots=True)
class Process:
    """Something that receives messages; stalled, it receives them later, and crashed, never."""

    name: str
    node: str
    alive: bool = True
    stalled_until_s: float = 0.0


@dataclass(slots=True)
class ReplicaProcess(Process):
    shard: int = 0
    stopped: bool = False  # ended on purpose: Ray does not start it again, and its name is free
    core: ShardCore = field(init=False)
    waiting: dict[int, Callable[[Any], None]] = field(default_factory=dict)


class DirectoryProcess(Process):
    core: DirectoryCore
    rounds: int = 0


class World:
    """Time, network, faults; everything happens in `run_until`."""

    def __init__(self, seed: int, nodes: int = 4, shards: int = 2, loss: float = 0.02) -> None:
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.loss = loss
        self.cut: set[frozenset[str]] = set()
        self.dead_nodes: set[str] = set()
        self.nodes = [f"n{i}" for i in range(nodes)]
        self.shards = shards
        self.log: dict[int, Layout] = {}
        self.replicas: dict[str, ReplicaProcess] = {}
        self.directories: list[DirectoryProcess] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._calls = itertools.count(1)
        self.start_directory()

    # -- time and messages ----------------------------------------------------------------------------

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._order), action))

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> None:
        ends_s = self.now_s + timeout_s
        while not done():
            assert self._heap, "nothing happens any more"
            at_s, _, action = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, at_s)
            assert self.now_s < ends_s, f"not done within {timeout_s} simulated seconds"
            action()

    def deliver(self, source: Process, target: Process, action: Callable[[], None]) -> None:
        """A message: lost, repeated, late, or refused by a partition."""
        if self.rng.random() < self.loss:
            return
        for _ in range(2 if self.rng.random() < self.loss else 1):
            delay_s = self.rng.expovariate(1 / 0.005) + (0.5 if self.rng.random() < 0.01 else 0.0)
            self.after(delay_s, lambda: self._arrive(source, target, action))

    def _arrive(self, source: Process, target: Process, action: Callable[[], None]) -> None:
        if not target.alive or frozenset((source.node, target.node)) in self.cut:
            return
        if target.stalled_until_s > self.now_s:
            wait_s = target.stalled_until_s - self.now_s + self.rng.random() * 0.01
            self.after(wait_s, lambda: self._arrive(source, target, action))
            return
        action()

    # -- replicas -------------------------------------------------------------------------------------

    def start_replica(self, actor: str, shard: int, node: str) -> None:
        if node in self.dead_nodes:
            return
        process = ReplicaProcess(actor, node, shard=shard)
        incarnation = f"{actor}#{self.rng.getrandbits(40)}"
        process.core = ShardCore(
            Replica(actor, incarnation, node),
            shard,
            lambda: PrioritizedReplayBuffer(SCHEMA, CAPACITY, shard=shard, seed=0),
            lambda: self.now_s,
        )
        process.core.rows.piece_bytes = 16 * SCHEMA.row_nbytes  # a new backup is filled in many pieces
        self.replicas[actor] = process
        self._tick(process)

    def crash(self, process: ReplicaProcess) -> None:
        """The process ends; Ray starts it again, empty, unless its node is dead."""
        process.alive = False

        def restart() -> None:
            if not process.stopped:
                self.start_replica(process.name, process.shard, process.node)

        self.after(self.rng.uniform(0.2, 2.0), restart)

    def kill_node(self, node: str) -> None:
        self.dead_nodes.add(node)
        for process in [*self.replicas.values(), *self.directories]:
            if process.node == node:
                process.alive = False

    def _tick(self, process: ReplicaProcess) -> None:
        if process.alive:
            if process.stalled_until_s <= self.now_s:
                self.feed(process, ev.Tick())
            self.after(0.1, lambda: self._tick(process))

    def ask(
        self,
        source: Process,
        process: ReplicaProcess,
        make: Callable[[int], ev.Event],
        hear: Callable[[Any], None],
    ) -> None:
        """A call whose answer may never come."""

        def arrived() -> None:
            call = next(self._calls)
            process.waiting[call] = lambda value: self.deliver(process, source, lambda: hear(value))
            self.feed(process, make(call))

        self.deliver(source, process, arrived)

    def feed(self, process: ReplicaProcess, event: ev.Event) -> None:
        for command in process.core.handle(event):
            match command:
                case ev.Answer(call, value):
                    process.waiting.pop(call)(value)
                case ev.SendOperations() | ev.SendState():
                    self._send_to_peer(process, command)
                case ev.ReportInSync():
                    for directory in self.directories:
                        greeted = self._greeting(process)
                        self.deliver(
                            process, directory, lambda d=directory, g=greeted: self.feed_directory(d, g)
                        )

    def _send_to_peer(self, process: ReplicaProcess, command: ev.SendOperations | ev.SendState) -> None:
        peer = self.replicas.get(command.to.actor)
        if peer is None:
            return

        def make(call: int) -> ev.Event:
            if isinstance(command, ev.SendState):
                return ev.Install(call, command.view, command.applied, command.piece)
            return ev.AcceptOperations(call, command.view, command.first, command.operations, command.sampled)

        self.ask(process, peer, make, lambda answer: self.feed(process, answer))

    def _greeting(self, process: ReplicaProcess) -> dr.Greeted:
        core = process.core
        return dr.Greeted(core.me, process.shard, core.view.number, core.in_sync)

    # -- directories ----------------------------------------------------------------------------------

    def start_directory(self) -> None:
        """A directory begins from the log; one that only sleeps may go on beside it."""
        newest = self.log[max(self.log)] if self.log else None
        process = DirectoryProcess("directory", "head")
        process.core = DirectoryCore(
            newest,
            shards=self.shards,
            replicas=2,
            silent_s=SILENT_S,
            actor_name=lambda shard, number: f"{shard}/{number}",
            clock=lambda: self.now_s,
        )
        for actor, replica in self.replicas.items():
            if replica.alive and actor not in process.core.actors:
                process.core.handle(self._greeting(replica))
        self.directories.append(process)
        self._watch(process)

    @property
    def directory(self) -> DirectoryProcess:
        return self.directories[-1]

    def _watch(self, directory: DirectoryProcess) -> None:
        if not directory.alive:
            return
        if directory.stalled_until_s <= self.now_s:
            alive = tuple(n for n in self.nodes if n not in self.dead_nodes)
            self.feed_directory(directory, dr.Nodes(alive))
            self.feed_directory(directory, dr.Tick())
            directory.rounds += 1
            if directory.rounds % 10 == 0 and self.log:
                self.feed_directory(directory, dr.Overtaken(self.log[max(self.log)]))
            for actor in directory.core.actors:
                process = self.replicas.get(actor)
                if process is not None and process.alive:
                    self._greet(directory, process)
        self.after(0.5, lambda: self._watch(directory))

    def _greet(self, directory: DirectoryProcess, process: ReplicaProcess) -> None:
        def arrived() -> None:
            greeted = self._greeting(process)
            self.deliver(process, directory, lambda: self.feed_directory(directory, greeted))

        self.deliver(directory, process, arrived)

    def feed_directory(self, directory: DirectoryProcess, event: dr.Event) -> None:
        for command in directory.core.handle(event):
            match command:
                case dr.Record(layout):
                    self.after(self.rng.uniform(0.001, 0.05), lambda ly=layout: self._record(directory, ly))
                case dr.Tell(replica, view):
                    self._tell(directory, replica.actor, view)
                case dr.StartReplica(actor, shard, node):
                    self.after(0.3, lambda a=actor, s=shard, n=node: self._start_once(a, s, n))
                case dr.StopReplica(actor):
                    self._stop(actor)

    def _start_once(self, actor: str, shard: int, node: str) -> None:
        if actor not in self.replicas or self.replicas[actor].stopped:
            self.start_replica(actor, shard, node)

    def _stop(self, actor: str) -> None:
        newest = self.log[max(self.log)]
        if actor in {m.actor for v in newest.shards for m in v.members if m.node not in self.dead_nodes}:
            return
        process = self.replicas.get(actor)
        if process is not None:
            process.alive, process.stopped = False, True

    def _record(self, directory: DirectoryProcess, layout: Layout) -> None:
        """The log decides, whether or not the directory still hears of it."""
        if directory.stalled_until_s > self.now_s:
            wait_s = directory.stalled_until_s - self.now_s + 0.001
            self.after(wait_s, lambda: self._record(directory, layout))
            return
        won = self.log.setdefault(layout.number, layout) == layout
        if directory.alive:
            event = dr.Recorded(layout.number) if won else dr.Refused(self.log[max(self.log)])
            self.feed_directory(directory, event)

    def _tell(self, directory: DirectoryProcess, actor: str, view: Any) -> None:
        process = self.replicas.get(actor)
        if process is None:
            return

        def arrived() -> None:
            self.feed(process, ev.Adopt(view))
            greeted = self._greeting(process)
            self.deliver(process, directory, lambda: self.feed_directory(directory, greeted))

        self.deliver(directory, process, arrived)

    # -- what is checked ------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        return self.log[max(self.log)] if self.log else Layout(0)

    def primaries(self) -> list[ReplicaProcess]:
        found = []
        for view in self.layout.shards:
            if view.primary is not None:
                process = self.replicas.get(view.primary.actor)
                if process is not None and process.core.me == view.primary:
                    found.append(process)
        return found

    def settled(self) -> bool:
        """Everybody is in the recorded views, and every shard has its backup."""
        views = self.layout.shards
        return bool(views) and all(
            view.primary is not None
            and view.backup is not None
            and all(
                (process := self.replicas.get(member.actor)) is not None
                and process.alive
                and process.stalled_until_s <= self.now_s
                and process.core.me == member
                and process.core.view.number == view.number
                for member in view.members
            )
            for view in views
        )


def rows_of(process: ReplicaProcess) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers, handles and priorities that a replica holds, by handle."""
    buffer = process.core.rows.buffer
    handles = np.sort(buffer.handles())
    if handles.size == 0:
        return np.empty(0, np.int64), handles, np.empty(0)
    batch, found = buffer.read(handles)
    assert found.all()
    return batch["row"], handles, buffer.priorities_of(handles)


def check_replica(process: ReplicaProcess) -> None:
    """No row twice, and every priority on the row that it was meant for."""
    rows, _, priorities = rows_of(process)
    assert len(set(rows.tolist())) == len(rows), f"{process.name} holds a row twice"
    strange = (priorities != NEW_PRIORITY) & (priorities != 1.0 + rows)
    assert not strange.any(), f"{process.name}: row {rows[strange][0]} has the priority of another row"


def role_of(process: ReplicaProcess) -> Role:
    return process.core.role
