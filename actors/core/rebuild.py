"""`Rebuild`: the catalog from what the members report, at start and when a disk comes back.

At start every member is heard first; then the newest version of each key is the one that counts. Older
versions that are still alive prove that a newer value was not acknowledged (see `stores`), so they are
kept until the newer one has its copies: if it is lost before, the older value was the last word.

Later, a disk that comes back is compared key by key with what has happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalog import Entry, united
from .inventory import Inventory
from .inventory_entries import compare, entries_at, entries_of
from .model import Kind, MemberId, StoreOptions, Version

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


@dataclass(slots=True)
class Register:
    """What one member keeps under one key."""

    member: MemberId
    incarnation: int
    entry: Entry
    """Shared by no one: the entry as it would be if this were all that is known."""


class Rebuild:
    """Merges inventories into the catalog."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._older: dict[str, list[Register]] = {}
        self._late: dict[str, list[Register]] = {}

    def merge_at_start(self, member: MemberId, incarnation: int, inventory: Inventory) -> None:
        """Before everyone is heard: keep the newest of each key, remember what is older.

        Nearly all rows are either the first that is heard of a key, or another copy of what is known. Both
        are taken in together, and for a copy no entry is made.
        """
        catalog = self._core.catalog
        catalog.add_member(member)
        found = list(map(catalog.entries.get, inventory.keys))
        fresh = [row for row, known in enumerate(found) if known is None]
        copies: list[Entry] = []
        others: list[int] = []
        if len(fresh) < len(found):
            copies, others = compare(found, inventory)
            first = inventory.take(fresh)
        else:
            first = inventory
        made = entries_at(member, first)
        if not catalog.add_fresh(member, first.keys, made):
            self._merge_each(member, incarnation, first.keys, made)
        catalog.add_copies(member, copies)
        if others:
            rest = inventory.take(others)
            self._merge_each(member, incarnation, rest.keys, entries_at(member, rest))

    def _merge_each(
        self, member: MemberId, incarnation: int, keys: Sequence[str], made: Sequence[Entry]
    ) -> None:
        catalog, older = self._core.catalog, self._older
        for key, entry in zip(keys, made, strict=True):
            known = catalog.entries.get(key)
            if known is None or known.version < entry.version:
                if known is not None:
                    self._set_aside(key, known)
                    entry.clients = united(entry.clients, known.clients)
                catalog.put(key, entry, entry.holders, entry.marks)
            elif known.version == entry.version:
                self._same(key, known, entry, member)
            else:
                known.clients = united(known.clients, entry.clients)
                older.setdefault(key, []).append(Register(member, incarnation, entry))

    def finish_start(self) -> None:
        """Everyone has been heard, or is known to be lost: clear away what is older."""
        core = self._core
        ready = core.placement.ready
        for key, registers in self._older.items():
            entry = core.catalog.entries[key]
            last = max(registers, key=_version_and_value).entry
            fallback = []
            # What marks the newer version was written after it had its copies; and a tombstone says nothing
            # about a newer value, because stores let tombstones be.
            doubtful = entry.kind is Kind.VALUE and not entry.marks and last.kind is Kind.VALUE
            if doubtful and not core.placement.enough(entry, entry.holders):
                # (The proof is worth nothing where the disk was away when the newer one came.)
                fallback = [r for r in registers if r.entry.version == last.version and r.member in ready]
                if core.membership.unverified.issuperset(r.member for r in fallback):
                    fallback = []
            if fallback:
                core.doubts.undecided[key] = fallback
            for register in registers:
                if register not in fallback and register.member in ready:
                    core.transfers.remove(register.member, [(key, register.entry.version)])
        self._older.clear()
        now = core.clock()
        value = Kind.VALUE
        wanted: StoreOptions | None = None
        judged: dict[tuple[MemberId, ...], bool] = {}
        unusual = []
        for key, entry in core.catalog.entries.items():
            entry.changed_s = now
            if entry.wanted is not wanted:
                wanted, judged = entry.wanted, {}
            holders = entry.holders
            usual = judged.get(holders)
            if usual is None:
                # Millions ask for the same, and have it in the same places: judged once.
                usual = bool(holders) and wanted.expires_s is None and core.placement.enough(wanted, holders)
                judged[holders] = usual
            if not usual or entry.kind is not value:
                unusual.append(key)
        for key in unusual:
            entry = core.catalog.entries[key]
            if entry.expires_s is not None:
                core.expiries.add(key, entry.expires_s)
            if entry.kind is Kind.TOMBSTONE:
                self._recovered_tombstone(key, now)
            elif entry.kind is value and not core.placement.enough(entry, entry.holders):
                core.transfers.check((key,))
        core.doubts.check_lost([key for key in unusual if not core.catalog.entries[key].holders])

    def _recovered_tombstone(self, key: str, now: float) -> None:
        self._core.tombstones.add((key,), now)

    def merge_later(self, member: MemberId, incarnation: int, inventory: Inventory) -> None:
        """A member has joined a running cluster, perhaps with what it had before."""
        core = self._core
        late: dict[str, Version] = {}
        for key, entry in zip(inventory.keys, entries_of(inventory), strict=True):
            register = Register(member, incarnation, entry)
            if key in core.requests.busy:
                # Somebody is just changing the key, and may succeed or not: decide it afterwards.
                self._late.setdefault(key, []).append(register)
                late[key] = entry.version
            else:
                self._merge(key, register)
        if late:
            core.doubts.dark[member] = late

    def released(self, keys: tuple[str, ...]) -> None:
        """Nobody is changing these keys any more."""
        if not self._late:
            return
        core = self._core
        for key in keys:
            for register in self._late.pop(key, ()):
                info = core.placement.ready.get(register.member)
                if info is not None and info.incarnation == register.incarnation:
                    held = core.doubts.dark.get(register.member)
                    if held is not None:
                        held.pop(key, None)
                        if not held:
                            del core.doubts.dark[register.member]
                    self._merge(key, register)

    def _merge(self, key: str, register: Register) -> None:
        core, member, entry = self._core, register.member, register.entry
        known = core.catalog.entries.get(key)
        older = core.doubts.undecided.get(key)
        if older is not None and entry.kind is Kind.VALUE and entry.version == older[0].entry.version:
            older.append(register)
            return
        if known is None or (
            known.version < entry.version and (known.kind is not Kind.VALUE or self._is_outdone(known))
        ):
            marks: tuple[MemberId, ...] = ()
            if known is not None:
                marks = known.marks
                entry.clients = united(entry.clients, known.clients)
                for holder in known.holders:
                    if holder != member:
                        core.transfers.remove(holder, [(key, known.version)])
            entry.changed_s = core.clock()
            core.expiries.add(key, entry.expires_s)
            if entry.kind is Kind.VALUE:
                core.catalog.put(key, entry, (member,), tuple(m for m in marks if m != member))
            else:
                core.catalog.put(key, entry, (), (*(m for m in marks if m != member), member))
                if entry.kind is Kind.TOMBSTONE:
                    core.tombstones.add((key,), entry.changed_s)
            core.transfers.check((key,))
        elif known.version == entry.version:
            self._same(key, known, entry, member)
            core.transfers.check((key,))
        else:
            # Older than what we know; or newer than a value that is alive, and so never acknowledged.
            core.transfers.remove(member, [(key, entry.version)])

    def _is_outdone(self, known: Entry) -> bool:
        """Whether a recovered value says nothing about newer ones: its disks have been away themselves."""
        membership = self._core.membership
        return known.version.epoch < membership.epoch and membership.unverified.issuperset(known.holders)

    def _same(self, key: str, known: Entry, entry: Entry, member: MemberId) -> None:
        catalog = self._core.catalog
        if entry.kind is Kind.VALUE:
            if known.kind is Kind.SUPERSEDED:
                known.kind, known.nbytes = Kind.VALUE, entry.nbytes
                known.wanted = entry.wanted
                self._core.expiries.add(key, entry.expires_s)
            self._core.catch_up.compare(key, known, entry)
        known.clients = united(known.clients, entry.clients)
        if entry.kind is Kind.VALUE:
            catalog.add_holder(key, member)
        else:
            catalog.add_mark(key, member)

    def _set_aside(self, key: str, known: Entry) -> None:
        """A newer version of the key has been found: what was known so far is older."""
        catalog = self._core.catalog
        for member in (*known.holders, *known.marks):
            kind = known.kind
            if member not in known.holders and kind is Kind.VALUE:
                kind = Kind.SUPERSEDED  # a mark of a value that others have
            old = Entry(known.version, kind, known.nbytes, known.clients, known.options(None))
            incarnation = self._core.membership.live[member].incarnation
            self._older.setdefault(key, []).append(Register(member, incarnation, old))
        catalog.remove(key)


def _version_and_value(register: Register) -> tuple[Version, bool]:
    return register.entry.version, register.entry.kind is Kind.VALUE
