"""`TierCore`: the state machine of a tier actor. It obeys, unless the order comes from the past.

For each key it knows one slot: a value or a mark, in a version, made by a command with a stamp. The bytes
are the store's business: the core says what to write and erase (`Write`, `Erase`, `Fetch`), is told what
came of it (`Written`, `Fetched`), and answers the coordinator (`Respond`). Two writes to one key never
overlap; a command for a key that is being written waits.

Nothing comes out of order, whatever the network does: a command of an older epoch, for an earlier life,
or one that is settled, is refused whole; a put does not replace a newer version, and does not undo a later
drop; a drop leaves alone what a later command has put.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .catalog import merged
from .commands import (
    CopyMany,
    DropMany,
    MarkMany,
    MemberCommand,
    PutMany,
    ResetMember,
    TakeInventory,
    UpdateMany,
)
from .events import Done, InventoryReported
from .inventory import Inventory, inventory_of
from .model import Clients, Fence, Kind, MemberInfo, Outcome, Refusal, Version

_CHANGEABLE = ("pinned", "priority", "expires_s")
"""What an update may change in a slot; other changes are for the shell's record alone."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What is kept under one key, without the bytes. `stamp` is that of the command that made it; 0 for
    what was there when the actor started."""

    version: Version
    kind: Kind
    nbytes: int
    clients: Clients
    stamp: int = 0
    replicas: int = 1
    durable: bool = False
    pinned: bool = False
    priority: float = 0.0
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Make `slots[i]` what the store keeps under `keys[i]`, atomically for each key; answer `Written`.

    The bytes are those of position `rows[i]` of the command: of its payload (`PutMany`), of what was
    fetched (`CopyMany`); a mark has none; `UpdateMany` keeps those that are there.
    """

    ticket: int
    command: MemberCommand
    rows: tuple[int, ...]
    keys: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Make the store forget these keys, for good where it is durable; answer `Written`."""

    ticket: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the values from the source, verify their checksums, keep them at hand; answer `Fetched`."""

    ticket: int
    command: CopyMany


@dataclass(frozen=True, slots=True)
class Wipe:
    """Forget every value (of a volatile tier): this life is over."""


@dataclass(frozen=True, slots=True)
class Respond:
    """Tell the coordinator."""

    answer: Done | InventoryReported


@dataclass(frozen=True, slots=True)
class AnnounceMember:
    """Tell the coordinator who we are now, until it asks for the inventory."""

    info: MemberInfo


Action = Write | Erase | Fetch | Wipe | Respond | AnnounceMember


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a `Write` or an `Erase`; None: all went well."""

    ticket: int
    outcomes: tuple[Outcome, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a `Fetch`: for each key the slot at the source (its stamp does not matter), or why not.

    A source that does not answer is UNAVAILABLE, one that has another version is MISSING.
    """

    ticket: int
    slots: tuple[Slot | Outcome, ...]


TierEvent = MemberCommand | ResetMember | Written | Fetched


@dataclass(slots=True)
class _Job:
    """A command that is being carried out. `slots[row]` is what a copy has fetched."""

    command: MemberCommand
    outcomes: list[Outcome]
    fetched: tuple[Slot | Outcome, ...] = ()
    rows: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()


class TierCore:
    """The slots of one tier actor, whose `slots` are what its store held when it started. Not thread-safe."""

    def __init__(self, info: MemberInfo, slots: dict[str, Slot] | None = None) -> None:
        self.info = info
        self.slots: dict[str, Slot] = slots if slots is not None else {}
        self.epoch = info.highest_epoch
        self.used_bytes = sum(slot.nbytes for slot in self.slots.values())
        self._settled = 0
        self._removals: dict[str, tuple[int, Version]] = {}
        self._removal_order: deque[tuple[int, str]] = deque()
        self._actions: list[Action] = []
        self._ticket = 0
        self._jobs: dict[int, _Job] = {}
        self._fetching: dict[int, _Job] = {}
        self._running: set[int] = set()
        self._answers: dict[int, Done] = {}
        self._busy: set[str] = set()
        self._queue: list[_Job] = []
        self._inventory: Fence | None = None

    def handle(self, event: TierEvent) -> list[Action]:
        """Take one event and return what is to be done now, in this order."""
        match event:
            case Written():
                self._written(event)
            case Fetched():
                self._fetched(event)
            case ResetMember():
                raise TypeError("a reset needs a new incarnation: call reset")
            case _:
                self._command(event)
        actions, self._actions = self._actions, []
        return actions

    def reset(self, event: ResetMember, incarnation: int) -> list[Action]:
        """The coordinator has dropped this life from its view: start a new one."""
        if event.incarnation != self.info.incarnation or event.epoch < self.epoch:
            return []
        self.info = replace(self.info, incarnation=incarnation, highest_epoch=self.epoch, clean=True)
        self._queue.clear()
        self._fetching.clear()
        self._running.clear()
        self._answers.clear()
        self._inventory = None
        actions: list[Action] = [AnnounceMember(self.info)]
        if not self.info.durable:
            self.slots.clear()
            self.used_bytes = 0
            self._jobs.clear()
            self._busy.clear()
            actions.insert(0, Wipe())
        return actions

    def may_read(self, key: str, version: Version, incarnation: int) -> bool:
        """Whether the value that a reader was sent for is the one that is here."""
        slot = self.slots.get(key)
        return (
            incarnation == self.info.incarnation
            and slot is not None
            and slot.kind is Kind.VALUE
            and slot.version == version
        )

    def hold(self, key: str) -> bool:
        """Keep commands away from a value while the shell rewrites its bytes; False where it cannot be held
        now. To be followed by `release`."""
        slot = self.slots.get(key)
        if slot is None or slot.kind is not Kind.VALUE or key in self._busy:
            return False
        self._busy.add(key)
        return True

    def release(self, key: str) -> list[Action]:
        """Let commands at the key again; what waited for it goes on."""
        self._busy.discard(key)
        self._work()
        actions, self._actions = self._actions, []
        return actions

    # -- commands -----------------------------------------------------------------------------------

    def _command(self, command: MemberCommand) -> None:
        fence = command.fence
        refusal = self.refusal(fence)
        if refusal is not None:
            answer = Done(self.info.member, fence.incarnation, fence.stamp, refusal=refusal)
            self._actions.append(Respond(answer))
            return
        self.epoch = fence.epoch
        self._settle(fence.settled)
        if isinstance(command, TakeInventory):
            self._inventory = fence
            self._queue = [job for job in self._queue if job.command.fence.epoch >= fence.epoch]
            self._report()
        elif fence.stamp in self._answers:
            # Its answer may have been lost. Carrying it out again could end differently: say it again.
            self._actions.append(Respond(self._answers[fence.stamp]))
        elif fence.stamp not in self._running:
            if self.info.clean:
                self.info = replace(self.info, clean=False)
            self._running.add(fence.stamp)
            job = _Job(command, [Outcome.OK] * len(command.keys))
            if isinstance(command, CopyMany):
                self._ticket += 1
                self._fetching[self._ticket] = job
                self._actions.append(Fetch(self._ticket, command))
            else:
                self._queue.append(job)
                self._work()

    def refusal(self, fence: Fence) -> Refusal | None:
        """Why a command is not looked at; None where it is."""
        if fence.incarnation != self.info.incarnation:
            return Refusal.INCARNATION
        if fence.epoch < self.epoch:
            return Refusal.EPOCH
        if fence.stamp < self._settled:
            return Refusal.SETTLED
        return None

    def _settle(self, settled: int) -> None:
        if settled > self._settled:
            self._settled = settled
            for stamp in [stamp for stamp in self._answers if stamp < settled]:
                del self._answers[stamp]
            order = self._removal_order
            while order and order[0][0] < settled:
                stamp, key = order.popleft()
                removal = self._removals.get(key)
                if removal is not None and removal[0] == stamp:
                    del self._removals[key]

    def _work(self) -> None:
        """Start every job whose keys are free; those of one key in the order of their arrival."""
        blocked: set[str] = set()
        queue, self._queue = self._queue, []
        for job in queue:
            keys = job.command.keys  # type: ignore[union-attr]
            if self._busy.isdisjoint(keys) and blocked.isdisjoint(keys):
                self._start(job)
            else:
                blocked.update(keys)
                self._queue.append(job)

    def _start(self, job: _Job) -> None:
        command = job.command
        if self.refusal(command.fence) is not None:  # it has waited too long
            self._running.discard(command.fence.stamp)
            return
        if isinstance(command, DropMany):
            self._drop(job, command)
            return
        rows, slots = [], []
        used = self.used_bytes
        keys: Sequence[str] = command.keys  # type: ignore[union-attr]
        for row, key in enumerate(keys):
            made = self._make(job, row, key)
            if isinstance(made, Outcome):
                job.outcomes[row] = made
                continue
            old = self.slots.get(key)
            grown = made.nbytes - (0 if old is None else old.nbytes)
            if grown > 0 and used + grown > self.info.capacity_bytes:
                job.outcomes[row] = Outcome.FULL
                continue
            used += grown
            rows.append(row)
            slots.append(made)
        if not rows:
            self._end(job)
            return
        job.rows, job.slots = tuple(rows), tuple(slots)
        job.keys = tuple(keys) if len(rows) == len(keys) else tuple(keys[row] for row in rows)
        self._busy.update(job.keys)
        self._ticket += 1
        self._jobs[self._ticket] = job
        self._actions.append(Write(self._ticket, command, job.rows, job.keys, job.slots))

    def _make(self, job: _Job, row: int, key: str) -> Slot | Outcome:
        """The slot that the command asks for, or why there is nothing to write."""
        command = job.command
        stamp = command.fence.stamp
        here = self.slots.get(key)
        match command:
            case PutMany():
                if not self.accepts(key, command.version, stamp):
                    return Outcome.STALE
                if here is not None and here.version == command.version and here.kind is Kind.VALUE:
                    return Outcome.OK
                options = command.options
                return Slot(
                    command.version,
                    Kind.VALUE,
                    command.sizes[row],
                    command.clients.get(key) or (command.request,),
                    stamp,
                    options.replicas,
                    options.durable,
                    options.pinned,
                    options.priority,
                    options.expires_s,
                )
            case CopyMany():
                found = job.fetched[row]
                if isinstance(found, Outcome):
                    return found
                if found.version != command.versions[row] or found.kind is not Kind.VALUE:
                    return Outcome.MISSING
                if not self.accepts(key, found.version, stamp):
                    return Outcome.STALE
                if here is not None and here.version == found.version and here.kind is Kind.VALUE:
                    return Outcome.OK
                return replace(found, stamp=stamp)
            case MarkMany():
                if here is not None and here.version >= command.version:
                    return Outcome.OK if here.version == command.version else Outcome.STALE
                if not self.accepts(key, command.version, stamp):
                    return Outcome.STALE
                return Slot(command.version, command.kind, 0, command.clients.get(key, ()), stamp)
            case UpdateMany():
                if here is None or here.version != command.versions[row] or here.kind is not Kind.VALUE:
                    return Outcome.MISSING
                clients = merged(here.clients, *command.request, len(here.clients) + 1)
                known = {name: change for name, change in command.changes.items() if name in _CHANGEABLE}
                return replace(here, clients=clients, **known)
            case _:
                raise AssertionError(f"not a command that writes: {command!r}")

    def accepts(self, key: str, version: Version, stamp: int) -> bool:
        """Whether something of this version may be put by a command with this stamp."""
        here = self.slots.get(key)
        if here is not None and here.version > version:
            return False
        removal = self._removals.get(key)
        return removal is None or stamp >= removal[0] or version > removal[1]

    def _drop(self, job: _Job, command: DropMany) -> None:
        stamp = command.fence.stamp
        keys: dict[str, None] = {}
        for key, version in zip(command.keys, command.versions, strict=True):
            removal = self._removals.get(key)
            if removal is None or removal[0] < stamp:
                self._removals[key] = (stamp, version)
                self._removal_order.append((stamp, key))
            here = self.slots.get(key)
            if here is None or here.stamp > stamp:
                continue
            if here.version == version or (here.version < version and not command.exact):
                keys[key] = None
        if not keys:
            self._end(job)
            return
        job.keys = tuple(keys)
        self._busy.update(keys)
        self._ticket += 1
        self._jobs[self._ticket] = job
        self._actions.append(Erase(self._ticket, job.keys))

    # -- results ------------------------------------------------------------------------------------

    def _fetched(self, event: Fetched) -> None:
        job = self._fetching.pop(event.ticket, None)
        if job is not None:
            job.fetched = event.slots
            self._queue.append(job)
            self._work()

    def _written(self, event: Written) -> None:
        job = self._jobs.pop(event.ticket, None)
        if job is None:
            return  # of an earlier life
        self._busy.difference_update(job.keys)
        failed = event.outcomes
        if isinstance(job.command, DropMany):
            places = {key: row for row, key in enumerate(job.command.keys)} if failed else {}
            for i, key in enumerate(job.keys):
                if failed and failed[i]:
                    job.outcomes[places[key]] = failed[i]
                else:
                    self.used_bytes -= self.slots.pop(key).nbytes
        else:
            for i, (row, key, slot) in enumerate(zip(job.rows, job.keys, job.slots, strict=True)):
                if failed and failed[i]:
                    job.outcomes[row] = failed[i]
                    continue
                old = self.slots.get(key)
                self.used_bytes += slot.nbytes - (0 if old is None else old.nbytes)
                self.slots[key] = slot
        self._end(job)
        self._work()
        self._report()

    def _end(self, job: _Job) -> None:
        fence = job.command.fence
        self._running.discard(fence.stamp)
        outcomes = tuple(job.outcomes) if any(job.outcomes) else None
        answer = Done(self.info.member, fence.incarnation, fence.stamp, outcomes)
        self._answers[fence.stamp] = answer
        self._actions.append(Respond(answer))

    def _report(self) -> None:
        """Answer with the inventory once nothing is being written any more."""
        fence = self._inventory
        if fence is None or self._jobs:
            return
        self._inventory = None
        inventory = self.inventory()
        self._actions.append(
            Respond(InventoryReported(self.info.member, self.info.incarnation, fence.stamp, inventory))
        )

    def inventory(self) -> Inventory:
        """All slots, as columns."""
        return inventory_of(list(self.slots), list(self.slots.values()))
