"""`DirectoryCore`: who serves the shards of one replay buffer, as a state machine.

It sees replicas come, fall silent and end, compares that with the layout, and proposes the next layout: a
backup continues a shard whose primary is gone, a lost backup is taken out, a fresh replica is made a
copy and becomes the backup. One layout is proposed at a time, and nobody hears of it before it is recorded.
Nothing is remembered but the layout: after a restart of the coordinator the replicas are asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from .directory_events import (
    AddShards,
    Command,
    Drained,
    DrainShard,
    Event,
    Greeted,
    Nodes,
    Overtaken,
    Record,
    Recorded,
    Refused,
    StartReplica,
    StopReplica,
    Tell,
    Tick,
    Unreachable,
)
from .model import Layout, Replica, ShardView

START_PATIENCE_S = 60.0
"""An actor that was started and has not answered for so long is given up."""


class Health(Enum):
    GOOD = "good"
    SILENT = "silent"  # may come back as it is
    GONE = "gone"  # this life is over


@dataclass(slots=True)
class Seen:
    """One actor as the directory knows it; `replica` is None until it has answered once."""

    shard: int
    node: str
    since_s: float
    replica: Replica | None = None
    heard_s: float = 0.0
    reachable: bool = True
    view_number: int = 0
    in_sync: Replica | None = None


class DirectoryCore:
    """One mutator, `handle`; one instance a buffer. Not thread-safe.

    layout: the newest that is recorded, or None where the buffer is new.
    actor_name: the name of the n-th actor of a shard.
    """

    def __init__(
        self,
        layout: Layout | None,
        *,
        shards: int,
        replicas: int,
        silent_s: float,
        actor_name: Callable[[int, int], str],
        clock: Callable[[], float],
    ) -> None:
        self.layout = layout or Layout(0)
        self._replicas = replicas
        self._silent_s = silent_s
        self._actor_name = actor_name
        self._clock = clock
        self._nodes: tuple[str, ...] = ()
        self._actors: dict[str, Seen] = {}
        self._numbers: Counter[int] = Counter()
        self._proposed: Layout | None = None
        self._awake_s = clock()
        self._wanted: list[AddShards | DrainShard | Drained] = []
        self._out: list[Command] = []
        if layout is None:
            self._wanted.append(AddShards(shards))
        self._meet_members()

    # -- what the shell asks --------------------------------------------------------------------------

    @property
    def actors(self) -> dict[str, int]:
        """The actors to be greeted, with their shards."""
        return {actor: seen.shard for actor, seen in self._actors.items()}

    def node_of(self, actor: str) -> str:
        return self._actors[actor].node

    @property
    def recording(self) -> bool:
        return self._proposed is not None

    @property
    def settled(self) -> bool:
        """Every shard has its primary, and as many replicas as there can be."""
        return (
            self._proposed is None
            and not self._wanted
            and bool(self.layout.shards)
            and all(
                view.primary is not None
                and (view.backup is not None or self._replicas < 2 or len(self._nodes) < 2)
                and all(self._knows(member, view) for member in view.members)
                for view in self.layout.shards
            )
        )

    def missing(self) -> list[int]:
        """Shards that nobody serves or that lack their backup."""
        return [
            v.shard
            for v in self.layout.shards
            if v.primary is None or (self._replicas > 1 and v.backup is None)
        ]

    # -- events ---------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Take one event in; returns what is to be done."""
        self._notice_own_sleep()
        match event:
            case Nodes(alive):
                self._nodes = alive
            case Greeted():
                self._greeted(event)
            case Unreachable(actor, dead):
                self._unreachable(actor, dead)
            case Recorded(number):
                self._recorded(number)
            case Refused(newest):
                self._proposed = None
                if newest.number >= self.layout.number:
                    self._begin_anew(newest)
            case Overtaken(newest):
                # (Where something is proposed, the answer to that will say so.)
                if self._proposed is None and newest.number > self.layout.number:
                    self._begin_anew(newest)
            case AddShards() | DrainShard() | Drained():
                self._wanted.append(event)
            case Tick():
                self._tell_those_behind()
        self._evolve()
        out, self._out = self._out, []
        return out

    def _notice_own_sleep(self) -> None:
        """A directory that slept has heard nothing because of that: it is no sign that others are silent."""
        if self._clock() - self._awake_s > self._silent_s / 3:
            self._give_everybody_time()
        self._awake_s = self._clock()

    def _begin_anew(self, layout: Layout) -> None:
        """Another directory was faster; what this one knew of replicas may be as old as its layout was."""
        self.layout = layout
        self._meet_members()
        for seen in self._actors.values():
            seen.replica, seen.view_number, seen.in_sync = None, 0, None
            seen.since_s = self._clock()
        self._give_everybody_time()

    def _meet_members(self) -> None:
        for view in self.layout.shards:
            for member in view.members:
                if member.actor not in self._actors:
                    self._see(member.actor, view.shard, member.node)

    def _give_everybody_time(self) -> None:
        for seen in self._actors.values():
            seen.heard_s = self._clock()

    def _greeted(self, event: Greeted) -> None:
        actor = event.replica.actor
        seen = self._actors.get(actor) or self._see(actor, event.shard, event.replica.node)
        seen.replica, seen.heard_s, seen.reachable = event.replica, self._clock(), True
        seen.node, seen.view_number, seen.in_sync = event.replica.node, event.view_number, event.in_sync

    def _unreachable(self, actor: str, dead: bool) -> None:
        seen = self._actors.get(actor)
        if seen is None:
            return
        seen.reachable = False
        if dead:
            del self._actors[actor]

    def _see(self, actor: str, shard: int, node: str) -> Seen:
        number = int(actor.rpartition("/")[2])
        self._numbers[shard] = max(self._numbers[shard], number + 1)
        seen = self._actors[actor] = Seen(shard, node, self._clock(), heard_s=self._clock())
        return seen

    def _recorded(self, number: int) -> None:
        if self._proposed is None or self._proposed.number != number:
            return
        self.layout, self._proposed = self._proposed, None
        self._tell_those_behind()

    def _tell_those_behind(self) -> None:
        """Replicas whose view is not the recorded one, those that it leaves out as well."""
        for actor, seen in self._actors.items():
            view = self.layout.view(seen.shard)
            if seen.replica is None or not seen.reachable:
                continue
            if view is None:
                self._out.append(StopReplica(actor))
            elif seen.view_number < view.number and (seen.replica in view.members or seen.view_number):
                self._out.append(Tell(seen.replica, view))

    # -- the next layout ------------------------------------------------------------------------------

    def _evolve(self) -> None:
        if self._proposed is not None or not self._nodes:
            return
        layout = self._with_wishes(self.layout)
        for view in layout.shards:
            better = self._better(view)
            if better is None:  # every copy is gone: the shard is, and a new one takes its place
                layout = self._replaced(layout, view)
            elif better != view:
                layout = layout.with_view(better)
        if layout != self.layout:
            self._proposed = replace(layout, number=self.layout.number + 1)
            self._out.append(Record(self._proposed))
        self._start_missing(layout)

    def _with_wishes(self, layout: Layout) -> Layout:
        for wish in self._wanted:
            match wish:
                case AddShards(count):
                    for _ in range(count):
                        layout = layout.with_new_shard()
                case DrainShard(shard):
                    if layout.view(shard) is not None and shard not in layout.draining:
                        layout = replace(layout, draining=(*layout.draining, shard))
                case Drained(shard, heir):
                    layout = layout.without(shard, heir)
        self._wanted.clear()
        return layout

    def _better(self, view: ShardView) -> ShardView | None:
        """The view that should follow this one (the same if none should); None if all copies are gone."""
        primary, backup, candidate = view.primary, view.backup, view.candidate
        if primary is None:
            fresh = self._fresh(view)
            return view if fresh is None else view.next(fresh)
        if self._health(primary) is not Health.GOOD:
            if backup is not None and self._health(backup) is Health.GOOD:
                return view.next(backup)
            gone = self._health(primary) is Health.GONE
            if gone and (backup is None or self._health(backup) is Health.GONE):
                return None
            return view  # somebody who has the rows may come back
        if backup is not None:
            # It is taken out only for a primary that was heard just now: one that is dead and not missed
            # yet would take the only good copy with it.
            keep = self._health(backup) is Health.GOOD or not self._heard_lately(primary)
            return view if keep else view.next(primary)
        if candidate is not None:
            if self._health(candidate) is not Health.GOOD:
                return view.next(primary)
            seen = self._actors[primary.actor]
            if seen.view_number == view.number and seen.in_sync == candidate:
                return view.next(primary, candidate)
            return view
        fresh = self._fresh(view) if self._replicas > 1 else None
        return view if fresh is None else view.next(primary, None, fresh)

    def _replaced(self, layout: Layout, view: ShardView) -> Layout:
        new = layout.next_shard
        layout = layout.with_new_shard()
        layout = layout.without(view.shard, new)
        return replace(layout, lost_shards=layout.lost_shards + 1)

    def _fresh(self, view: ShardView) -> Replica | None:
        """A replica of the shard that serves nothing, on another node than its primary."""
        taken = view.primary.node if view.primary is not None else None
        for seen in self._actors.values():
            if seen.shard != view.shard or seen.replica is None or seen.node == taken:
                continue
            told = seen.view_number in (0, view.number)  # it has heard that it is nobody
            if told and seen.replica not in view.members and self._health(seen.replica) is Health.GOOD:
                return seen.replica
        return None

    def _health(self, replica_: Replica) -> Health:
        seen = self._actors.get(replica_.actor)
        if replica_.node not in self._nodes or seen is None:
            return Health.GONE
        if seen.replica is not None and seen.replica.incarnation != replica_.incarnation:
            return Health.GONE
        if not seen.reachable or self._clock() - seen.heard_s > self._silent_s:
            return Health.SILENT
        return Health.GOOD

    def _heard_lately(self, replica_: Replica) -> bool:
        return self._clock() - self._actors[replica_.actor].heard_s <= self._silent_s / 4

    def _knows(self, replica_: Replica, view: ShardView) -> bool:
        seen = self._actors.get(replica_.actor)
        return seen is not None and seen.view_number >= view.number

    # -- actors ---------------------------------------------------------------------------------------

    def _start_missing(self, layout: Layout) -> None:
        """Start what the layout lacks, and end what it has no use for."""
        for actor, seen in list(self._actors.items()):
            hopeless = seen.replica is None and self._clock() - seen.since_s > START_PATIENCE_S
            if seen.node not in self._nodes or (hopeless and not self._is_member(actor)):
                self._out.append(StopReplica(actor))
                del self._actors[actor]
        for view in layout.shards:
            self._staff(view)

    def _staff(self, view: ShardView) -> None:
        """See to it that a shard has as many actors as it needs, on distinct nodes, and no more."""
        members = {member.actor for member in view.members}
        spare = {
            actor: seen
            for actor, seen in self._actors.items()
            if seen.shard == view.shard and actor not in members
        }
        lacking = self._replicas - len(view.members)
        if lacking <= 0:
            for actor, seen in spare.items():
                if seen.replica is not None and self._health(seen.replica) is Health.GOOD:
                    self._out.append(StopReplica(actor))
            return
        nodes = {view.primary.node} if view.primary is not None else set()
        for seen in spare.values():
            usable = seen.replica is None or self._health(seen.replica) is Health.GOOD
            if usable and seen.node not in nodes:
                nodes.add(seen.node)
                lacking -= 1
        for _ in range(lacking):
            node = self._choose_node(nodes)
            if node is None:
                return
            nodes.add(node)
            actor = self._actor_name(view.shard, self._numbers[view.shard])
            self._see(actor, view.shard, node)
            self._out.append(StartReplica(actor, view.shard, node))

    def _is_member(self, actor: str) -> bool:
        return any(m.actor == actor for view in self.layout.shards for m in view.members)

    def _choose_node(self, but: set[str]) -> str | None:
        """The node that carries fewest of our actors."""
        load = Counter(seen.node for seen in self._actors.values())
        free = [node for node in self._nodes if node not in but]
        return min(free, key=lambda node: (load[node], node), default=None)
