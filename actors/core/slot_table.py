"""`SlotTable`: what a tier actor keeps under each key, without the bytes, and what may take its place.

Commands can arrive in another order than they were sent, and twice. A slot is replaced only by what is
newer, and what was dropped does not come back: the table remembers removals until the coordinator says
that every earlier command is settled.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from .catalog import merged
from .commands import CopyMany, DropMany, MarkMany, MemberCommand, PutMany, UpdateMany
from .model import Clients, Kind, Outcome, Version

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


class SlotTable:
    """The slots by key, their bytes together, and the removals that still matter. Not thread-safe."""

    def __init__(self, slots: dict[str, Slot]) -> None:
        self.slots = slots
        self.used_bytes = sum(slot.nbytes for slot in slots.values())
        self._removals: dict[str, tuple[int, Version]] = {}
        self._removal_order: deque[tuple[int, str]] = deque()

    def put(self, key: str, slot: Slot) -> None:
        """The store keeps this now."""
        old = self.slots.get(key)
        self.used_bytes += slot.nbytes - (0 if old is None else old.nbytes)
        self.slots[key] = slot

    def remove(self, key: str) -> None:
        """The store has erased what was here."""
        self.used_bytes -= self.slots.pop(key).nbytes

    def clear(self) -> None:
        """The store has forgotten everything."""
        self.slots.clear()
        self.used_bytes = 0

    def settle(self, settled: int) -> None:
        """Commands with a smaller stamp do not come any more: removals by them need not be remembered."""
        order = self._removal_order
        while order and order[0][0] < settled:
            stamp, key = order.popleft()
            removal = self._removals.get(key)
            if removal is not None and removal[0] == stamp:
                del self._removals[key]

    def accepts(self, key: str, version: Version, stamp: int) -> bool:
        """Whether something of this version may be put by a command with this stamp."""
        here = self.slots.get(key)
        if here is not None and here.version > version:
            return False
        return not self._is_removed(key, version, stamp)

    def _is_removed(self, key: str, version: Version, stamp: int) -> bool:
        """Whether a later command than the one with this stamp has removed the version."""
        removal = self._removals.get(key)
        return removal is not None and stamp < removal[0] and version <= removal[1]

    def _remember_removal(self, key: str, version: Version, stamp: int) -> None:
        """From now on, nothing that was sent before this stamp brings the version back."""
        removal = self._removals.get(key)
        if removal is None or removal[0] < stamp:
            self._removals[key] = (stamp, version)
            self._removal_order.append((stamp, key))

    def droppable(self, command: DropMany) -> tuple[str, ...]:
        """Which keys the command removes; from now on, nothing that was sent before it brings them back."""
        stamp = command.fence.stamp
        keys: dict[str, None] = {}
        for key, version in zip(command.keys, command.versions, strict=True):
            self._remember_removal(key, version, stamp)
            here = self.slots.get(key)
            if here is None or here.stamp > stamp:
                continue
            if here.version == version or (here.version < version and not command.exact):
                keys[key] = None
        return tuple(keys)

    def made_by(
        self, command: MemberCommand, row: int, key: str, fetched: tuple[Slot | Outcome, ...]
    ) -> Slot | Outcome:
        """The slot that the command asks for under its `row`-th key, or why there is nothing to write.
        `fetched` is what a copy has got from its source."""
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
                found = fetched[row]
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
                withdrawn = False
                if command.withdrawn is not None:
                    self._remember_removal(key, command.withdrawn, stamp)
                    withdrawn = (
                        here is not None
                        and here.version == command.withdrawn
                        and here.kind is Kind.VALUE
                        and here.stamp < stamp
                    )
                if here is not None and here.version >= command.version and not withdrawn:
                    return Outcome.OK if here.version == command.version else Outcome.STALE
                if self._is_removed(key, command.version, stamp):
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
