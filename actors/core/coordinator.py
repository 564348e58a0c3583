"""`CoordinatorCore`: decides where everything is. Events in, commands out; see `actors.core`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from . import commands as out
from . import events as ev
from .catalog import Catalog, Entry
from .deletes import DeleteRequest
from .expiries import Expiries
from .marks import Marks
from .membership import Membership, Phase
from .model import CoreConfig, Kind, MemberId, MemberInfo, Outcome, Refusal, RequestId, Version
from .moves import MoveRequest
from .outbox import Answer, Outbox
from .placement import Placement
from .queries import Queries
from .rebuild import Rebuild, Register
from .stores import StoreRequest, Stores
from .tombstones import Tombstones
from .transfers import Transfers
from .updates import UpdateRequest

_APPLIED = {Outcome.OK, Outcome.MISSING}
"""Outcomes of mutations that leave a trace by which their repetition is known."""


_STARVING_A_TICK = 256
_NEVER = Version()


class LockingRequest(Protocol):
    """A request that has its keys to itself while it runs."""

    @property
    def request(self) -> RequestId: ...

    @property
    def keys(self) -> tuple[str, ...]: ...

    def begin(self) -> None: ...


class Stalled(Protocol):
    """Something that goes on at the next tick."""

    def advance(self) -> None: ...


class CoordinatorCore:
    """The state machine of the coordinator.

    `owner` names this process uniquely. `clock` is monotonic (and goes on while the process is stopped);
    `wall_clock` is the time since the Unix epoch, by which values expire. Not thread-safe.
    """

    def __init__(
        self,
        owner: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        config: CoreConfig | None = None,
    ) -> None:
        self.config = config or CoreConfig()
        self.clock = clock
        self.wall_clock = wall_clock
        self._commands: list[out.Command] = []
        self.catalog = Catalog()
        self.outbox = Outbox(self.emit, clock)
        self.membership = Membership(owner, self.config, clock, self.emit)
        self.placement = Placement(self.config, self.catalog, self.membership.losing)
        self.transfers = Transfers(self)
        self.tombstones = Tombstones(self)
        self.rebuild = Rebuild(self)
        self.expiries = Expiries(self, owner)
        self.stores = Stores()
        self.queries = Queries(self)
        self.dark: dict[MemberId, dict[str, Version] | None] = {}
        """Durable members whose disk is not heard at present, with what they held (None: unknown)."""
        self.uncertain: dict[str, dict[MemberId, int]] = {}
        """Members that may hold something of a key which the catalog does not list."""
        self.undecided: dict[str, list[Register]] = {}
        """Recovered keys whose newest version may not have been acknowledged, with the older copies."""
        self.busy: dict[str, LockingRequest] = {}
        self.recheck: set[str] = set()
        """Busy keys whose copies are to be looked at when they are free again."""
        self.stalled: list[Stalled] = []
        self._waiting: dict[str, deque[LockingRequest]] = {}
        self._pending: set[RequestId] = set()
        self._failed: dict[RequestId, tuple[float, out.Reply]] = {}
        """What was said to have changed nothing must not take effect when it is repeated."""
        self._parked: dict[RequestId, ev.ClientEvent] = {}
        self._held: list[ev.Event] = []
        self._unheard: dict[MemberId, int] = {}
        """Members that have not reported yet, with the incarnation that was asked."""
        self._strangers: list[MemberInfo] = []
        """Members that announced themselves before this coordinator was one."""
        self._sequence = 0

    @property
    def phase(self) -> Phase:
        """How far this coordinator is."""
        return self.membership.phase

    @property
    def at_rest(self) -> bool:
        """Whether no request, repair or removal is under way."""
        return self.transfers.idle and not (
            self.busy or self.uncertain or self.undecided or self.stalled or self.dark
        )

    @property
    def is_quiet(self) -> bool:
        """Whether this coordinator serves, and no client is changing anything at this moment."""
        waiting = self.busy or self._waiting or self._held or self._parked
        return self.phase is Phase.SERVING and not waiting

    def handle(self, event: ev.Event) -> list[out.Command]:
        """Take one event and return what is to be done now, in this order."""
        match event:
            case ev.Start():
                self._start(event)
            case ev.ViewPersisted():
                self._view_changed(event)
            case ev.ViewRefused():
                self._view_changed(event)
            case ev.ViewChecked():
                self.membership.checked(event.asked_s, event.newer)
            case _:
                self._held.append(event)
        if self.phase in (Phase.CLAIMING, Phase.IDLE) or (self._held and self.membership.may_act()):
            held, self._held = self._held, []
            for waiting in held:
                if self.phase is not Phase.STOPPED:
                    self._dispatch(waiting)
        if self.phase is Phase.SERVING:
            self.transfers.pump()
        self.transfers.send_removals()
        commands, self._commands = self._commands, []
        if self.phase is Phase.STOPPED:
            return [command for command in commands if isinstance(command, out.Stop)]
        return commands

    def emit(self, command: out.Command) -> None:
        """Add a command to those that `handle` returns."""
        self._commands.append(command)

    # -- for the parts ------------------------------------------------------------------------------

    def next_version(self) -> Version:
        """A version that is newer than every other."""
        self._sequence += 1
        return Version(self.membership.epoch, self._sequence)

    def members_with_value(self, key: str) -> tuple[MemberId, ...]:
        """Every member that may hold a value of the key, in any version."""
        entry = self.catalog.entries.get(key)
        members = () if entry is None else entry.holders
        if key in self.uncertain or key in self.undecided:
            more = {*members, *self.uncertain.get(key, ())}
            more.update(register.member for register in self.undecided.get(key, ()))
            return tuple(sorted(more))
        return members

    def members_with_anything(self, key: str) -> tuple[MemberId, ...]:
        """Every member that may hold a value or a mark of the key."""
        entry = self.catalog.entries.get(key)
        marks = () if entry is None else entry.marks
        return tuple(sorted({*self.members_with_value(key), *marks}))

    def may_be_away(self, keys: Collection[str]) -> bool:
        """Whether a disk that is not heard may hold one of the keys."""
        return any(held is None or not held.keys().isdisjoint(keys) for held in self.dark.values())

    def missing_witnesses(self, written: set[MemberId]) -> list[MemberId] | None:
        """Where something must be written down as well, beside `written`; None: nowhere to write now."""
        nodes = self.placement.nodes(written)
        wanted = min(self.config.marks, self.placement.durable_nodes())
        if wanted == 0:
            return None
        return self.placement.witnesses(nodes)[: max(0, wanted - len(nodes))]

    def is_doubtful(self, key: str, entry: Entry) -> bool:
        """Whether something newer than this recovered value may be on a disk that is away.

        Whoever was a member when the newer value was acknowledged has no older one any more. So that
        can only be where all copies are on disks that have been away themselves.
        """
        return (
            bool(self.membership.unverified)
            and entry.version.epoch < self.membership.epoch
            and any(held is None or held.get(key, _NEVER) > entry.version for held in self.dark.values())
            and self.membership.unverified.issuperset(entry.holders)
        )

    def make_safe(self, key: str, entry: Entry) -> bool:
        """Whether the value has the copies it asks for, and nothing older can come back.

        What is missing for that is begun.
        """
        if entry.kind is not Kind.VALUE:
            return True
        if (
            key in self.undecided
            or self.is_doubtful(key, entry)
            or not self.placement.enough(entry, entry.holders)
        ):
            self.transfers.check((key,))
            return False
        if self.may_be_away((key,)):
            written = {m for m in (*entry.holders, *entry.marks) if self.placement.durable((m,))}
            missing = self.missing_witnesses(written)
            if missing is None:
                return False
            if missing:
                Marks.write(self, (key,), missing)
                return False
        return True

    def add_uncertain(self, key: str, member: MemberId) -> None:
        members = self.uncertain.setdefault(key, {})
        members[member] = members.get(member, 0) + 1

    def remove_uncertain(self, key: str, member: MemberId) -> None:
        members = self.uncertain[key]
        members[member] -= 1
        if not members[member]:
            del members[member]
            if not members:
                del self.uncertain[key]

    def committed(self, keys: Iterable[str]) -> None:
        """These keys have a new value or have been deleted: nothing older matters any more."""
        if self.undecided:
            for key in keys:
                self.undecided.pop(key, None)

    def decide(self, key: str) -> None:
        """The newest version has its copies: older ones go."""
        for register in self.undecided.pop(key):
            self.transfers.remove(register.member, [(key, register.entry.version)])

    def check_lost(self, keys: Iterable[str]) -> None:
        """Look at keys that have lost copies: fall back, where that is right, or say that they are lost."""
        lost: list[str] = []
        for key in keys:
            entry = self.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or entry.holders:
                continue
            if key in self.busy:
                self.recheck.add(key)
                continue
            if key in self.undecided:
                self._fall_back(key)
                continue
            self.catalog.become_lost(key)
            lost.append(key)
        if lost:
            Marks.write(self, lost)
            away = [held for held in self.dark.values() if held is not None]
            gone = tuple(key for key in lost if not any(key in held for held in away))
            if gone:
                self.emit(out.Announce("lost", "", gone))

    def finish(self, request: LockingRequest, reply: out.Reply | None) -> None:
        """The request is over (None: without an answer); its keys are free again."""
        if reply is not None:
            self.emit(reply)
            if reply.outcomes is not None and not _APPLIED.issuperset(reply.outcomes):
                self._failed[reply.request] = (self.clock(), reply)
        self._pending.discard(request.request)
        busy, waiting = self.busy, self._waiting
        for key in request.keys:
            busy.pop(key, None)
        self.rebuild.released(request.keys)
        if self.recheck:
            again = self.recheck.intersection(request.keys)
            self.recheck -= again
            self.check_lost(sorted(again))
            self.transfers.check(sorted(again))
        if waiting:
            woken = [waiting.pop(key) for key in request.keys if key in waiting]
            for queue in woken:
                for later in queue:
                    self._lock(later)

    # -- events -------------------------------------------------------------------------------------

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Done() | ev.InventoryReported():
                self._receive(event)
            case ev.Tick():
                self._tick()
            case ev.MemberJoined():
                self._joined(event.info)
            case ev.MemberLost():
                self.membership.lose(event.member, event.incarnation)
                self.membership.propose_changes()
            case ev.DeclareGone():
                self.membership.give_up(event.member)
                self.membership.propose_changes()
            case ev.DrainNode():
                self._drain(event)
            case ev.CopyCorrupt():
                self._corrupt(event)
            case (
                ev.StoreMany()
                | ev.DeleteMany()
                | ev.LocateMany()
                | ev.ListKeys()
                | ev.MoveMany()
                | ev.UpdateKeys()
            ):
                if self.phase is Phase.SERVING:
                    self._serve(event)
                else:
                    self._parked[event.request] = event
            case _:
                raise AssertionError(f"not an event: {event!r}")

    def _start(self, event: ev.Start) -> None:
        if self.phase is not Phase.IDLE:
            return
        known = set() if event.view is None else {(m.member, m.incarnation) for m in event.view.members}
        gone = set() if event.view is None else set(event.view.gone)
        members = []
        for info in event.members:
            if info.member not in gone and (info.clean or (info.member, info.incarnation) in known):
                members.append(info)
            else:
                self._strangers.append(info)
        self.membership.claim(event.view, tuple(members))

    def _view_changed(self, event: ev.ViewPersisted | ev.ViewRefused) -> None:
        claiming = self.phase is Phase.CLAIMING
        if isinstance(event, ev.ViewPersisted):
            change = self.membership.persisted(event.number, event.asked_s)
        else:
            change = self.membership.refused(event.view, event.asked_s)
        if change is None:
            return
        if claiming:
            self.outbox.start_epoch(self.membership.epoch)
            self.dark = dict.fromkeys(self.membership.away)
        for info in change.left:
            self._left(info)
        for member in change.forgotten:
            self.dark.pop(member, None)
        for info in change.entered:
            self._entered(info)
        if change.forgotten:
            self.tombstones.review()
        strangers, self._strangers = self._strangers, []
        for info in strangers:
            self._joined(info)
        self._rebuilt_if_all_heard()
        self.membership.propose_changes()

    def _joined(self, info: MemberInfo) -> None:
        if self.phase in (Phase.IDLE, Phase.CLAIMING):
            self._strangers.append(info)  # whoever is not coordinator turns nobody away
            return
        if info.member in self.membership.gone:
            self.emit(out.Quarantine(info.member, info.incarnation))
            return
        present = self.membership.live.get(info.member)
        if not info.clean and (present is None or present.incarnation != info.incarnation):
            self.emit(out.ResetMember(info.member, info.incarnation, self.membership.epoch))
            return
        self.membership.join(info)
        self.membership.propose_changes()

    def _entered(self, info: MemberInfo) -> None:
        member = info.member
        self.outbox.add_member(info)
        self._unheard[member] = info.incarnation
        if info.durable and self.phase is Phase.SERVING:
            self.dark.setdefault(member, None if info.highest_epoch else {})
        self.outbox.send(out.TakeInventory(self.outbox.fence(member)), _InventoryOwner(self))

    def _left(self, info: MemberInfo) -> None:
        member = info.member
        self._unheard.pop(member, None)
        heard = self.placement.ready.pop(member, None) is not None
        self.placement.reserved_bytes.pop(member, None)
        waiting = self.outbox.remove_member(member)
        emptied = info.durable and heard and not waiting and self._is_emptied(info)
        held = self.catalog.remove_member(member)
        if info.durable:
            if heard or self.dark.get(member) is not None:
                held.update(self.dark.get(member) or {})
                for late in waiting:
                    for key in getattr(late.command, "keys", ()):
                        held.setdefault(key, Version())
                for key in self.uncertain:
                    if member in self.uncertain[key]:
                        held.setdefault(key, Version())
                self.dark[member] = held
            else:
                self.dark[member] = None
        if emptied:
            self.membership.give_up(member)  # its node was taken away on purpose: nobody waits for the disk
        if member in self.membership.gone:
            self.dark.pop(member, None)
        for key, registers in list(self.undecided.items()):
            registers[:] = [register for register in registers if register.member != member]
            if not registers:
                del self.undecided[key]
        for late in waiting:
            late.owner.answered(late.command, None)
        if self.phase is Phase.SERVING:
            self.check_lost(held)
            self.transfers.check(held)
        self.emit(out.Announce("left", member))

    def _is_emptied(self, info: MemberInfo) -> bool:
        """Whether a disk that leaves was drained, and no other needs what is written down on it."""
        return (
            info.tier != "glacier"  # that is no node's own
            and info.node in self.placement.draining
            and not self.catalog.used_bytes[info.member]
            and not self.dark
            and not any(info.member in members for members in self.uncertain.values())
        )

    def _receive(self, answer: Answer) -> None:
        if isinstance(answer, ev.Done) and answer.refusal is not None:
            if answer.refusal is Refusal.EPOCH:
                self.membership.lease_until_s = float("-inf")
                self.membership.may_act()
            return  # the command goes on waiting: until it is sent again, or the member is lost
        self.outbox.receive(answer)

    def heard(self, answer: ev.InventoryReported) -> None:
        """A member has reported what it keeps."""
        member = answer.member
        info = self.membership.live[member]
        self._unheard.pop(member, None)
        self.membership.heard(member)
        self.placement.reserved_bytes[member] = 0
        self.dark.pop(member, None)
        if self.phase is Phase.SERVING:
            self.catalog.add_member(member)
            self.placement.ready[member] = info
            self.rebuild.merge_later(member, answer.incarnation, answer.inventory)
            if info.node in self.placement.draining:
                self._empty(info.node)
            self._new_room()
        else:
            self.rebuild.merge_at_start(member, answer.incarnation, answer.inventory)
            self.placement.ready[member] = info
            self._rebuilt_if_all_heard()
        self.emit(out.Announce("joined", member))

    def _rebuilt_if_all_heard(self) -> None:
        if self.phase is not Phase.REBUILDING or self._unheard:
            return
        self.membership.phase = Phase.SERVING
        self.rebuild.finish_start()
        for node in self.placement.draining:
            self._empty(node)
        self.emit(out.Announce("serving"))
        parked, self._parked = self._parked, {}
        for request in parked.values():
            self._serve(request)

    def _new_room(self) -> None:
        self.transfers.check_starving()
        self.tombstones.review()

    def _drain(self, event: ev.DrainNode) -> None:
        if event.undo:
            self.placement.draining.discard(event.node)
            self._new_room()
        else:
            self.placement.draining.add(event.node)
            self._empty(event.node)

    def _empty(self, node: str) -> None:
        """Look soon at everything that lies on a node that is being drained."""
        for member, info in self.placement.ready.items():
            if info.node == node:
                self.transfers.check(self.catalog.keys_at[member])

    def _corrupt(self, event: ev.CopyCorrupt) -> None:
        info = self.placement.ready.get(event.member)
        if info is not None and info.incarnation == event.incarnation:
            self.transfers.copy_is_bad(event.key, event.version, event.member, Outcome.CORRUPT)

    def _serve(self, event: ev.ClientEvent) -> None:
        if event.request in self._failed:
            self.emit(self._failed[event.request][1])
            return
        match event:
            case ev.StoreMany():
                if event.request not in self._pending:
                    self._lock(StoreRequest(self, event))
            case ev.DeleteMany():
                if event.request not in self._pending:
                    self._lock(DeleteRequest(self, event))
            case ev.LocateMany():
                self.queries.locate(event)
            case ev.ListKeys():
                self.queries.list_keys(event)
            case ev.MoveMany():
                MoveRequest(self, event).advance()
            case ev.UpdateKeys():
                if event.request not in self._pending:
                    self._lock(UpdateRequest(self, event))

    def _lock(self, request: LockingRequest) -> None:
        self._pending.add(request.request)
        busy = self.busy
        if not busy.keys().isdisjoint(request.keys):
            blocker = next(key for key in request.keys if key in busy)
            self._waiting.setdefault(blocker, deque()).append(request)
            return
        busy.update(dict.fromkeys(request.keys, request))
        request.begin()

    def _fall_back(self, key: str) -> None:
        """The newest version is lost and was not acknowledged: the older one was the last word."""
        registers = self.undecided.pop(key)
        self.catalog.put(key, registers[0].entry, tuple(register.member for register in registers), ())
        self.transfers.check((key,))

    def _tick(self) -> None:
        self.membership.tick()
        if self.phase is Phase.STOPPED:
            return
        self.outbox.resend(self.config.resend_after_s)
        stalled, self.stalled = self.stalled, []
        for waiting in stalled:
            waiting.advance()
        limit_s = self.clock() - self.config.tombstone_retention_s
        while self._failed and next(iter(self._failed.values()))[0] < limit_s:
            del self._failed[next(iter(self._failed))]
        if self.phase is Phase.SERVING:
            self._verify()
            self.tombstones.purge()
            expired = self.expiries.due()
            if expired is not None:
                self._serve(expired)
            self.transfers.check_starving(_STARVING_A_TICK)
            self.transfers.check_refused()

    def _verify(self) -> None:
        """All disks are heard, and what was outdated on some has been removed: they are as good as any."""
        unverified = self.membership.unverified - self.membership.verified
        if not unverified or self.dark or not unverified.issubset(self.placement.ready):
            return
        for members in self.uncertain.values():
            unverified.difference_update(members)
        if unverified:
            self.membership.verified |= unverified
            self.membership.propose_changes()


class _InventoryOwner:
    """Waits for the report of one member."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core

    def answered(self, command: out.MemberCommand, answer: Answer | None) -> None:
        if isinstance(answer, ev.InventoryReported):
            self._core.heard(answer)
