"""`Doubts`: what the catalog cannot say for sure, and what must not be promised because of it.

Three kinds of doubt. A disk that is away may bring back what it held (`dark`). A copy that was begun or
given up may be at a member that the catalog does not list (`uncertain`). And the newest version that a
rebuild found may never have been acknowledged (`undecided`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from .catalog import Entry
from .commands import Announce
from .marks import Marks
from .model import Kind, MemberId, Version
from .rebuild import Register

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_NEVER = Version()


class Doubts:
    """Members, copies and versions that nobody has confirmed or ruled out yet."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self.dark: dict[MemberId, dict[str, Version] | None] = {}
        """Durable members whose disk is not heard at present, with what they held (None: unknown)."""
        self.uncertain: dict[str, dict[MemberId, int]] = {}
        """Members that may hold something of a key which the catalog does not list."""
        self.undecided: dict[str, list[Register]] = {}
        """Recovered keys whose newest version may not have been acknowledged, with the older copies."""

    def __bool__(self) -> bool:
        return bool(self.dark or self.uncertain or self.undecided)

    # -- who may have something ---------------------------------------------------------------------

    def members_with_value(self, key: str) -> tuple[MemberId, ...]:
        """Every member that may hold a value of the key, in any version."""
        entry = self._core.catalog.entries.get(key)
        members = () if entry is None else entry.holders
        if key in self.uncertain or key in self.undecided:
            more = {*members, *self.uncertain.get(key, ())}
            more.update(register.member for register in self.undecided.get(key, ()))
            return tuple(sorted(more))
        return members

    def members_with_anything(self, key: str) -> tuple[MemberId, ...]:
        """Every member that may hold a value or a mark of the key."""
        entry = self._core.catalog.entries.get(key)
        marks = () if entry is None else entry.marks
        return tuple(sorted({*self.members_with_value(key), *marks}))

    def may_be_away(self, keys: Collection[str]) -> bool:
        """Whether a disk that is not heard may hold one of the keys."""
        return any(held is None or not held.keys().isdisjoint(keys) for held in self.dark.values())

    def add_uncertain(self, key: str, member: MemberId) -> None:
        """From now on the member may hold something of the key. Counted: each is to be taken back once."""
        members = self.uncertain.setdefault(key, {})
        members[member] = members.get(member, 0) + 1

    def remove_uncertain(self, key: str, member: MemberId) -> None:
        """What `add_uncertain` said is settled."""
        members = self.uncertain[key]
        members[member] -= 1
        if not members[member]:
            del members[member]
            if not members:
                del self.uncertain[key]

    # -- what may be said ---------------------------------------------------------------------------

    def missing_witnesses(self, written: set[MemberId]) -> list[MemberId] | None:
        """Where something must be written down as well, beside `written`; None: nowhere to write now."""
        placement, config = self._core.placement, self._core.config
        nodes = placement.nodes(written)
        wanted = min(config.marks, placement.durable_nodes())
        if wanted == 0:
            return None
        return placement.witnesses(nodes, wanted - len(nodes))

    def is_doubtful(self, key: str, entry: Entry) -> bool:
        """Whether something newer than this recovered value may be on a disk that is away.

        Whoever was a member when the newer value was acknowledged has no older one any more. So that
        can only be where all copies are on disks that have been away themselves.
        """
        membership = self._core.membership
        return (
            bool(membership.unverified)
            and entry.version.epoch < membership.epoch
            and any(held is None or held.get(key, _NEVER) > entry.version for held in self.dark.values())
            and membership.unverified.issuperset(entry.holders)
        )

    def about(self, key: str, entry: Entry) -> bool:
        """Whether the value may not be the last word."""
        return key in self.undecided or self.is_doubtful(key, entry)

    def make_safe(self, key: str, entry: Entry, *, allow_degraded: bool = False) -> bool:
        """Whether the value has the copies it asks for (`allow_degraded`: as far as there are places for
        them), and nothing older can come back.

        What is missing for that is begun.
        """
        core = self._core
        if entry.kind is not Kind.VALUE:
            return True
        short = not core.placement.enough(entry, entry.holders)
        if short and allow_degraded and entry.holders:
            short = bool(core.placement.choose(entry.options(None), entry.nbytes, entry.holders))
        if short or self.about(key, entry):
            core.transfers.check((key,))
            return False
        if self.may_be_away((key,)):
            written = {m for m in (*entry.holders, *entry.marks) if core.placement.durable((m,))}
            missing = self.missing_witnesses(written)
            if missing is None:
                return False
            if missing:
                Marks.write(core, (key,), missing)
                return False
        return True

    # -- how a doubt ends ---------------------------------------------------------------------------

    def committed(self, keys: Iterable[str]) -> None:
        """These keys have a new value or have been deleted: nothing older matters any more."""
        if self.undecided:
            for key in keys:
                self.undecided.pop(key, None)

    def decide(self, key: str) -> None:
        """The newest version has its copies: older ones go."""
        for register in self.undecided.pop(key):
            self._core.transfers.remove(register.member, [(key, register.entry.version)])

    def say_lost(self, keys: Iterable[str]) -> None:
        """A disk that had a copy of these keys will not be heard again: announce those that nobody has."""
        entries = self._core.catalog.entries
        lost = []
        for key in keys:
            entry = entries.get(key)
            if entry is not None and entry.kind is Kind.SUPERSEDED and not self.may_be_away((key,)):
                lost.append(key)
        if lost:
            self._core.emit(Announce("lost", "", tuple(lost)))

    def check_lost(self, keys: Iterable[str]) -> None:
        """Look at keys that have lost copies: fall back, where that is right, or say that they are lost."""
        core = self._core
        lost: list[str] = []
        for key in keys:
            entry = core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or entry.holders:
                continue
            if key in core.requests.busy:
                core.requests.recheck.add(key)
                continue
            if key in self.undecided:
                self._fall_back(key)
                continue
            core.catalog.become_lost(key)
            lost.append(key)
        if lost:
            Marks.write(core, lost)
            away = [held for held in self.dark.values() if held is not None]
            gone = tuple(key for key in lost if not any(key in held for held in away))
            if gone:
                core.emit(Announce("lost", "", gone))

    def _fall_back(self, key: str) -> None:
        """The newest version is lost and was not acknowledged: the older one was the last word."""
        registers = self.undecided.pop(key)
        values = [register for register in registers if register.entry.kind is Kind.VALUE]
        marks = tuple(register.member for register in registers if register not in values)
        entry = (values or registers)[0].entry  # without a value: it is on a disk that is away, or lost
        self._core.catalog.put(key, entry, tuple(register.member for register in values), marks)
        self._core.transfers.check((key,))

    def forget_copies(self, member: MemberId) -> None:
        """A member is lost, and with it the older copies of undecided keys that it had."""
        for key, registers in list(self.undecided.items()):
            registers[:] = [register for register in registers if register.member != member]
            if not registers:
                del self.undecided[key]
