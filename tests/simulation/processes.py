"""The shells of the cores in the simulated cluster: tier actors with their disks, coordinators, clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memories.actors.core.client import ClientAction, ClientCore, Complete, ReadFrom, Send
from memories.actors.core.commands import (
    CheckView,
    Command,
    PersistView,
    PutMany,
    Quarantine,
    Reply,
    ResetMember,
    Stop,
)
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.events import (
    Event,
    InventoryReported,
    LocateMany,
    MemberJoined,
    MemberLost,
    Start,
    Tick,
    ViewChecked,
    ViewPersisted,
    ViewRefused,
)
from memories.actors.core.membership import Phase
from memories.actors.core.model import Kind, MemberId, MemberInfo, Outcome, Version, View
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
        self.writing: dict[int, Write | Erase] = {}
        self.fetched: dict[int, dict[str, int]] = {}
        self.fenced_epoch = 0
        self.silent_since: float | None = None

    @property
    def incarnation(self) -> int:
        return self.core.info.incarnation

    def command(self, sender: CoordinatorProcess, command: Any) -> None:
        self.asked_by[command.fence.stamp] = sender
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
        if slot.kind is Kind.VALUE:
            command = action.command
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
                    client = world.clients.get(command.request.client)
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


class ClientProcess(Process):
    """A driver with a few calls under way."""

    def __init__(self, world: World, name: str, node: str) -> None:
        super().__init__(name, node)
        self.world = world
        network = world.network
        self.core = ClientCore(name, node, lambda: network.now, resend_after_s=1.0)
        self.waiting: dict[int, Callable[[Complete, dict[str, int]], None]] = {}
        self.values: dict[int, dict[str, int]] = {}
        self.places: dict[str, Place] = {}
        self.guesses: dict[str, tuple[Place, Version, int]] = {}
        self.right_guesses = 0
        self._ticket = 0
        network.after(0.1, self.tick)

    def start(
        self,
        begin: Callable[[int], list[ClientAction]],
        done: Callable[[Complete, dict[str, int]], None],
    ) -> None:
        self._ticket += 1
        self.waiting[self._ticket] = done
        self.values[self._ticket] = {}
        self.act(begin(self._ticket))

    def tick(self) -> None:
        if self.waiting:
            self.act(self.core.tick())
        self.world.network.after(0.1, self.tick)

    def replied(self, reply: Reply) -> None:
        self.act(self.core.replied(reply))

    def have_read(self, request: ReadFrom, outcomes: tuple[Outcome, ...], values: dict[str, int]) -> None:
        if request.ticket in self.values:
            self.values[request.ticket].update(values)
        self.act(self.core.read_done(request, outcomes))

    def have_guessed(self, key: str, answer: tuple[Place, Version, int]) -> None:
        self.guesses[key] = answer

    def _guess(self, event: LocateMany) -> None:
        """As the client on Ray does: ask where the key was the last time, before it is known where it is."""
        (key,) = event.keys
        self.guesses.pop(key, None)
        place = self.places.get(key)
        life = None if place is None else self.world.life(*place)
        if place is not None and life is not None:
            self.world.network.send(self.node, life, life.guess, self, key, place)

    def _was_guessed(self, action: ReadFrom) -> bool:
        """Whether the guess is the very version that the coordinator names."""
        visit = action.visit
        place = (visit.member, visit.incarnation)
        self.places.update(dict.fromkeys(visit.keys, place))
        guess = self.guesses.pop(visit.keys[0], None)
        if len(visit.keys) > 1 or guess is None or guess[:2] != (place, visit.versions[0]):
            return False
        self.right_guesses += 1
        self.have_read(action, (Outcome.OK,), {visit.keys[0]: guess[2]})
        return True

    def act(self, actions: list[ClientAction]) -> None:
        network = self.world.network
        for action in actions:
            match action:
                case Send(event):
                    if isinstance(event, LocateMany) and len(event.keys) == 1:
                        self._guess(event)
                    # By name: whoever is the coordinator now, or sometimes still an old one.
                    coordinator = self.world.coordinator_for_a_client()
                    if coordinator is not None:
                        network.send(self.node, coordinator, coordinator.on, event)
                case ReadFrom() if self._was_guessed(action):
                    pass
                case ReadFrom():
                    life = self.world.life(action.visit.member, action.visit.incarnation)
                    if life is not None:
                        network.send(self.node, life, life.read, self, action)
                    silent = (Outcome.UNAVAILABLE,) * len(action.visit.keys)
                    network.after(1.0, self._read_timed_out, action, silent)
                case Complete():
                    done = self.waiting.pop(action.ticket)
                    done(action, self.values.pop(action.ticket))

    def _read_timed_out(self, action: ReadFrom, silent: tuple[Outcome, ...]) -> None:
        if action.ticket in self.waiting:
            self.act(self.core.read_done(action, silent))
