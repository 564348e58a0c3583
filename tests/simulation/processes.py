"""The shells of the cores in the simulated cluster: tier actors with their disks, and coordinators."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from memories.actors.core.client import ReadFrom
from memories.actors.core.commands import (
    CheckView,
    Command,
    PersistView,
    PutMany,
    Quarantine,
    Reply,
    ResetMember,
    Stop,
    UpdateMany,
)
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.events import (
    Done,
    Event,
    InventoryReported,
    MemberJoined,
    MemberLost,
    Start,
    Tick,
    ViewChecked,
    ViewPersisted,
    ViewRefused,
)
from memories.actors.core.membership import Phase
from memories.actors.core.model import Kind, MemberId, MemberInfo, Outcome, Refusal, View
from memories.actors.core.tier import (
    Action,
    Erase,
    Fetch,
    Fetched,
    Respond,
    Slot,
    TierCore,
    Wipe,
    Write,
    Written,
)

from .network import Process

if TYPE_CHECKING:
    from .clients import ClientProcess
    from .world import World


@dataclass
class Stored:
    """Bytes under a key: the number of the operation that wrote them stands for them."""

    slot: Slot
    value: int | None
    rotten: bool = False


@dataclass
class Disk:
    """What survives the process. A write that was cut off has happened or has not, key by key."""

    blobs: dict[str, Stored] = field(default_factory=dict)


class TierProcess(Process):
    """One life of a tier actor."""

    def __init__(self, world: World, info: MemberInfo, disk: Disk) -> None:
        super().__init__(f"{info.member}#{info.incarnation}", info.node)
        self.world = world
        self.member = info.member
        self.disk = disk
        self.durable = info.durable
        slots = {}
        for key, blob in disk.blobs.items():
            slots[key] = Slot(**{name: getattr(blob.slot, name) for name in _KEPT})
        self.core = TierCore(info, slots)
        self.asked_by: dict[int, CoordinatorProcess] = {}
        self.unanswered: dict[int, float] = {}
        """When the command came, by its stamp."""
        self.writing: dict[int, Write | Erase] = {}
        self.fetched: dict[int, dict[str, int]] = {}
        self.fenced_epoch = 0
        self.silent_since: float | None = None

    @property
    def incarnation(self) -> int:
        return self.core.info.incarnation

    def command(self, sender: CoordinatorProcess, command: Any) -> None:
        fence = command.fence
        if fence.stamp in self.unanswered:
            running = Done(fence.member, fence.incarnation, fence.stamp, refusal=Refusal.RUNNING)
            if self.world.network.connected(self.node, sender.node):  # no draw: seeds keep their histories
                self.world.network.after(0.001, sender.deliver, sender.on, (running,))
            return
        self.unanswered[fence.stamp] = self.world.network.now
        self.asked_by[fence.stamp] = sender
        self.act(self.core.handle(command))

    def reset(self, event: ResetMember) -> None:
        if event.incarnation == self.incarnation:
            self.act(self.core.reset(event, self.world.new_incarnation(self)))

    def act(self, actions: list[Action]) -> None:
        network = self.world.network
        for action in actions:
            if not self.survives():
                return
            match action:
                case Write() | Erase():
                    if isinstance(action, Write):
                        self.world.oracle.written_by(self, action.command)
                    self.writing[action.ticket] = action
                    delay_s = network.random.uniform(0.001, 0.01) if self.durable else 0.0001
                    network.after(delay_s, self.deliver, self.written, (action,))
                case Fetch():
                    self.fetch(action)
                case Respond():
                    answer = action.answer
                    self.unanswered.pop(answer.stamp, None)
                    if isinstance(answer, InventoryReported):
                        self.fenced_epoch = self.core.epoch
                    to = self.asked_by.get(answer.stamp)
                    if to is not None:
                        network.send(self.node, to, to.on, answer)
                case Wipe():
                    self.disk.blobs.clear()
                    self.writing.clear()

    def fetch(self, action: Fetch) -> None:
        network, command = self.world.network, action.command
        source = self.world.life(command.source, command.source_incarnation)
        unanswered = Fetched(action.ticket, (Outcome.UNAVAILABLE,) * len(command.keys))
        stamp = command.fence.stamp
        network.after(1.0, self.deliver, self.have_fetched, (unanswered, stamp, {}))
        if source is not None:
            network.send(self.node, source, source.serve_copy, self, action)

    def serve_copy(self, to: TierProcess, action: Fetch) -> None:
        found: list[Slot | Outcome] = []
        values = {}
        for key, version in zip(action.command.keys, action.command.versions, strict=True):
            blob = self.disk.blobs.get(key)
            slot = self.core.slots.get(key)
            if blob is None or slot is None or slot.version != version or slot.kind is not Kind.VALUE:
                found.append(Outcome.MISSING)
            elif blob.rotten:
                found.append(Outcome.CORRUPT)
            elif blob.slot.version != version or blob.value is None:
                found.append(Outcome.MISSING)
            else:
                found.append(slot)
                values[key] = blob.value
        network, stamp = self.world.network, action.command.fence.stamp
        answer = Fetched(action.ticket, tuple(found))
        delay_s = network.random.choice([0.0, 0.0, 0.05, 0.4])  # large values take their time
        network.after(delay_s, network.send, self.node, to, to.have_fetched, answer, stamp, values)

    def have_fetched(self, event: Fetched, stamp: int, values: dict[str, int]) -> None:
        self.fetched.setdefault(stamp, {}).update(values)
        self.act(self.core.handle(event))

    def written(self, action: Write | Erase) -> None:
        if self.writing.pop(action.ticket, None) is None:
            return  # wiped meanwhile
        outcomes: list[Outcome] = []
        for row in range(len(action.keys)):
            if self.world.medium_fails():
                outcomes.append(Outcome.ERROR)
            else:
                outcomes.append(Outcome.OK)
                self.apply(action, row)
        self.act(self.core.handle(Written(action.ticket, tuple(outcomes) if any(outcomes) else None)))

    def apply(self, action: Write | Erase, row: int) -> None:
        """One key of a write has reached the medium."""
        key = action.keys[row]
        if isinstance(action, Erase):
            self.disk.blobs.pop(key, None)
            return
        slot = action.slots[row]
        value: int | None = None
        command = action.command
        if isinstance(command, UpdateMany):  # the bytes stay as they are
            self.disk.blobs[key] = replace(self.disk.blobs[key], slot=slot)
            return
        if slot.kind is Kind.VALUE:
            if isinstance(command, PutMany):
                position = action.rows[row]
                value = command.payload[position if command.rows is None else command.rows[position]]
            else:
                value = self.fetched[command.fence.stamp][key]
            self.world.oracle.stored(value, self.node, self.durable)
        self.disk.blobs[key] = Stored(slot, value)

    def survives(self) -> bool:
        if self.fuse == 1 and not self.world.may_die([self]):
            self.fuse = None
        return super().survives()

    def die(self) -> None:
        if self.alive:
            self.world.oracle.hit(self.world.oracle.endangered([self]))
            super().die()
            if self.durable:
                for action in self.writing.values():
                    for row in range(len(action.keys)):
                        if self.world.network.random.random() < 0.5:
                            self.apply(action, row)
            self.world.tier_died(self)

    def read(self, client: ClientProcess, request: ReadFrom) -> None:
        outcomes, values = [], {}
        for key, version in zip(request.visit.keys, request.visit.versions, strict=True):
            blob = self.disk.blobs.get(key)
            if not self.core.may_read(key, version, request.visit.incarnation) or blob is None:
                outcomes.append(Outcome.MISSING)
            elif blob.rotten:
                outcomes.append(Outcome.CORRUPT)
            elif blob.value is None or blob.slot.version != version:
                outcomes.append(Outcome.MISSING)
            else:
                outcomes.append(Outcome.OK)
                values[key] = blob.value
        self.world.network.send(self.node, client, client.have_read, request, tuple(outcomes), values)

    def guess(self, client: ClientProcess, key: str, place: Place) -> None:
        """Answer whatever version is here, to a reader who has not heard yet which one counts."""
        blob = self.disk.blobs.get(key)
        if blob is not None and blob.value is not None and not blob.rotten:
            version = blob.slot.version
            if self.core.may_read(key, version, place[1]):
                answer = (place, version, blob.value)
                self.world.network.send(self.node, client, client.have_guessed, key, answer)


Place = tuple[MemberId, int]
"""A member, in one life."""

_KEPT = (
    "version",
    "kind",
    "nbytes",
    "clients",
    "replicas",
    "durable",
    "pinned",
    "priority",
    "expires_s",
)


class CoordinatorProcess(Process):
    """One coordinator, on the head node. Several may be alive; one is the newest."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(f"coordinator-{number}", "n0")
        self.world = world
        network = world.network
        self.core: CoordinatorCore = world.make_core(self.name)
        log = world.view_log
        self.on(Start(log[-1] if log else None, tuple(world.infos(self))))
        network.after(0.25, self.deliver, self.tick, ())

    @property
    def serving(self) -> bool:
        return self.alive and self.core.phase is Phase.SERVING

    def on(self, event: Event) -> None:
        self.perform(self.core.handle(event))

    def tick(self) -> None:
        network = self.world.network
        network.after(0.25, self.deliver, self.tick, ())
        self.watch()
        if self.alive:
            self.on(Tick())

    def watch(self) -> None:
        """The health watch: who is dead or silent, and who is there without being a member."""
        world = self.world
        for member, info in list(self.core.membership.live.items()):
            life = world.life(member, info.incarnation)
            if life is None or not life.alive or world.silent_for_s(life) > 2.0:
                self.on(MemberLost(member, info.incarnation))
        for info in world.infos(self):
            present = self.core.membership.live.get(info.member)
            if present is None or present.incarnation != info.incarnation:
                self.on(MemberJoined(info))

    def perform(self, commands: list[Command]) -> None:
        world, network = self.world, self.world.network
        for command in commands:
            if not self.survives():
                return
            match command:
                case PersistView(view):
                    network.after(0.001, self._persist, view, network.now)
                case CheckView(number, asked_s):
                    newer = next((v for v in reversed(world.view_log) if v.number > number), None)
                    answer = ViewChecked(number, asked_s, newer)
                    network.after(0.001, self.deliver, self.on, (answer,))
                case Reply():
                    world.oracle.replied(self, command)
                    client = world.clients.get(command.request.client.partition("/")[0])
                    if client is not None:
                        network.send(self.node, client, client.replied, command)
                case ResetMember(member, incarnation, _):
                    life = world.life(member, incarnation)
                    if life is not None:
                        network.send(self.node, life, life.reset, command)
                case Quarantine(member, incarnation):
                    life = world.life(member, incarnation)
                    if life is not None and not life.stalled:
                        network.after(0.001, world.set_aside, life)
                case Stop():
                    self.die()
                    return
                case _ if hasattr(command, "fence"):
                    fence = command.fence
                    life = world.life(fence.member, fence.incarnation)
                    if life is not None:
                        network.send(self.node, life, life.command, self, command)

    def _persist(self, view: View, asked_s: float) -> None:
        log = self.world.view_log
        event: Event
        if log and log[-1].number >= view.number:
            event = ViewRefused(log[-1], asked_s)
        else:
            log.append(view)
            event = ViewPersisted(view.number, asked_s)
        if self.world.network.random.random() > 0.03:
            self.deliver(self.on, (event,))

    def die(self) -> None:
        if self.alive:
            super().die()
            self.world.coordinator_died(self)
