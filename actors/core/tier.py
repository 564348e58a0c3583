"""`TierCore`: the state machine of a tier actor. It obeys, unless the order comes from the past.

For each key it knows one slot: a value or a mark, in a version, made by a command with a stamp. The bytes
are the store's business: the core says what to write and erase (`Write`, `Erase`, `Fetch`), is told what
came of it (`Written`, `Fetched`), and answers the coordinator (`Respond`). Two writes to one key never
overlap; a command for a key that is being written waits.

Nothing comes out of order, whatever the network does: a command of an older epoch, for an earlier life,
or one that is settled, is refused whole; a put does not replace a newer version, and does not undo a later
drop; a drop leaves alone what a later command has put. Every command is answered, also one that has waited
until it is to be refused: somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .commands import CopyMany, DropMany, MemberCommand, ResetMember, TakeInventory
from .events import Done, InventoryReported
from .inventory import Inventory, inventory_of
from .model import Fence, Kind, MemberInfo, Outcome, Refusal, Version
from .slot_table import Slot, SlotTable
from .tier_actions import (
    Action,
    AnnounceMember,
    Erase,
    Fetch,
    Fetched,
    Respond,
    Wipe,
    Write,
    Written,
)

__all__ = [
    "Action",
    "AnnounceMember",
    "Erase",
    "Fetch",
    "Fetched",
    "Respond",
    "Slot",
    "TierCore",
    "TierEvent",
    "Wipe",
    "Write",
    "Written",
]
"""The machine with all that passes between it and its shell."""

TierEvent = MemberCommand | ResetMember | Written | Fetched


@dataclass(slots=True)
class _Job:
    """A command that is being carried out. `fetched` is what a copy has got from its source, row by
    row; `slots` are to be written under `keys`, which are at `rows` of the command."""

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
        self.epoch = info.highest_epoch
        self._table = SlotTable(slots if slots is not None else {})
        self._settled = 0
        self._actions: list[Action] = []
        self._ticket = 0
        self._jobs: dict[int, _Job] = {}
        self._fetching: dict[int, _Job] = {}
        self._running: set[int] = set()
        self._answers: dict[int, Done] = {}
        self._busy: set[str] = set()
        self._queue: list[_Job] = []
        self._inventory: Fence | None = None

    @property
    def slots(self) -> dict[str, Slot]:
        """What is kept, by key. To be looked at only."""
        return self._table.slots

    @property
    def used_bytes(self) -> int:
        """The bytes of all slots together."""
        return self._table.used_bytes

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
        self._answers.clear()
        actions: list[Action] = [AnnounceMember(self.info)]
        over, self._queue = self._queue, []  # what is being fetched is refused when it has come
        if not self.info.durable:
            self._table.clear()
            over += self._jobs.values()
            self._jobs.clear()
            self._busy.clear()
            actions.insert(0, Wipe())
        for job in over:
            self._give_up(job)
        if self._inventory is not None:
            self._refuse(self._inventory)
            self._inventory = None
        refused, self._actions = self._actions, []
        return actions + refused

    def is_running(self, stamp: int) -> bool:
        """Whether the command is still to be carried out; not, where it was answered or refused."""
        return stamp in self._running

    def may_read(self, key: str, version: Version, incarnation: int) -> bool:
        """Whether the value that a reader was sent for is the one that is here."""
        slot = self._table.slots.get(key)
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
        if self.refusal(fence) is not None:
            self._refuse(fence)
            return
        self.epoch = fence.epoch
        self._settle(fence.settled)
        if isinstance(command, TakeInventory):
            if self._inventory is not None and self._inventory.stamp != fence.stamp:
                self._refuse(self._inventory)
            self._inventory = fence
            queue, self._queue = self._queue, []
            for job in queue:
                if job.command.fence.epoch >= fence.epoch:
                    self._queue.append(job)
                else:
                    self._give_up(job)
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

    def _refuse(self, fence: Fence) -> None:
        """Whoever sent the command waits for an answer."""
        refusal = self.refusal(fence) or Refusal.SETTLED
        answer = Done(self.info.member, fence.incarnation, fence.stamp, refusal=refusal)
        self._actions.append(Respond(answer))

    def _give_up(self, job: _Job) -> None:
        """Its time is over before it was carried out."""
        self._running.discard(job.command.fence.stamp)
        self._refuse(job.command.fence)

    def _settle(self, settled: int) -> None:
        if settled > self._settled:
            self._settled = settled
            for stamp in [stamp for stamp in self._answers if stamp < settled]:
                del self._answers[stamp]
            self._table.settle(settled)

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
            self._give_up(job)
            return
        if isinstance(command, DropMany):
            self._drop(job, command)
            return
        rows, slots = [], []
        table, used = self._table, self._table.used_bytes
        keys: Sequence[str] = command.keys  # type: ignore[union-attr]
        for row, key in enumerate(keys):
            made = table.made_by(command, row, key, job.fetched)
            if isinstance(made, Outcome):
                job.outcomes[row] = made
                continue
            old = table.slots.get(key)
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

    def _drop(self, job: _Job, command: DropMany) -> None:
        job.keys = self._table.droppable(command)
        if not job.keys:
            self._end(job)
            return
        self._busy.update(job.keys)
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
                    self._table.remove(key)
        else:
            for i, (row, key, slot) in enumerate(zip(job.rows, job.keys, job.slots, strict=True)):
                if failed and failed[i]:
                    job.outcomes[row] = failed[i]
                    continue
                self._table.put(key, slot)
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
