"""`Catalog`: where every key is, in which version, with the bytes of each member counted.

It holds only what can be rebuilt from the members' inventories. Every change goes through its methods,
which keep three things together: the entries, the keys of each member, and the bytes of each member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .model import Clients, Kind, MemberId, StoreOptions, Version


class Entry:
    """What is known of one key. Only `Catalog` changes it, but for `wanted`, `clients` and `changed_s`.

    There may be ten million of them, so what many share is one object: `wanted`, what its store asked for,
    the version, the clients and the members.
    """

    __slots__ = ("changed_s", "clients", "holders", "key", "kind", "marks", "nbytes", "version", "wanted")

    def __init__(
        self,
        version: Version,
        kind: Kind,
        nbytes: int,
        clients: Clients,
        wanted: StoreOptions,
        holders: tuple[MemberId, ...] = (),
        marks: tuple[MemberId, ...] = (),
        changed_s: float = 0.0,
        key: str = "",
    ):
        self.key = key
        """The one string that the catalog keeps of this key, however many have reported it."""
        self.version = version
        self.kind = kind
        self.nbytes = nbytes
        self.clients = clients
        self.wanted = wanted
        self.holders = holders
        """Members with the value in this version."""
        self.marks = marks
        """Members with a tombstone or a superseded mark, of this version or an older one."""
        self.changed_s = changed_s

    @property
    def replicas(self) -> int:
        return self.wanted.replicas

    @property
    def durable(self) -> bool:
        return self.wanted.durable

    @property
    def priority(self) -> float:
        return self.wanted.priority

    @property
    def expires_s(self) -> float | None:
        return self.wanted.expires_s

    @property
    def pinned(self) -> bool:
        return self.wanted.pinned

    def options(self, tier: str | None) -> StoreOptions:
        """What the entry asks for, as options for a placement in a tier."""
        return replace(self.wanted, node="", tier=tier, allow_degraded=False)

    def seen(self, client: str) -> int:
        """The highest request sequence of this client that changed the key; -1 for none."""
        for name, sequence in self.clients:
            if name == client:
                return sequence
        return -1


def merged(clients: Clients, client: str, sequence: int, limit: int) -> Clients:
    """The marks after one more request, the latest last."""
    if not clients or (len(clients) == 1 and clients[0][0] == client):
        return ((client, sequence),)
    return (*(pair for pair in clients if pair[0] != client), (client, sequence))[-limit:]


def united(newer: Clients, older: Clients) -> Clients:
    """The higher mark of each client; the last writer of the newer ones stays last."""
    if newer == older or not older:
        return newer
    marks = {client: sequence for client, sequence in older if client not in dict(newer)}
    floor = dict(older)
    marks.update((client, max(sequence, floor.get(client, -1))) for client, sequence in newer)
    return tuple(marks.items())


MAX_SHARED = 4096


class Catalog:
    """Entries by key; not thread-safe."""

    def __init__(self) -> None:
        self._shared: dict[StoreOptions, StoreOptions] = {}
        self.entries: dict[str, Entry] = {}
        self.keys_at: dict[MemberId, dict[str, None]] = {}
        """Keys of which the member holds the value or a mark, in the order in which it got them."""
        self._used_bytes: dict[MemberId, int] = {}
        self.used_bytes: Mapping[MemberId, int] = self._used_bytes
        self.resized: set[MemberId] = set()
        """Members whose bytes have changed since whoever ranks members by their room cleared this."""

    def shared(self, options: StoreOptions) -> StoreOptions:
        """Options that are equal to these and that other entries have already, where there are any.

        Placement is over when an entry is made, so node and tier are left out.
        """
        if options.node or options.tier is not None or options.allow_degraded:
            options = replace(options, node="", tier=None, allow_degraded=False)
        if options.expires_s is not None:
            return options  # nearly every one is another
        if len(self._shared) >= MAX_SHARED:
            self._shared.clear()
        return self._shared.setdefault(options, options)

    def add_fresh(self, member: MemberId, keys: Sequence[str], entries: Sequence[Entry]) -> bool:
        """Take in all that one member has, its holders and marks included, if no key is known yet.

        The same as `put` for each, in a fraction of the time; False, and nothing changed, where a key is
        known or occurs twice.
        """
        if self.keys_at[member] or not self.entries.keys().isdisjoint(keys):
            return False
        made = dict(zip(keys, entries, strict=True))
        if len(made) != len(keys):
            return False
        if self.entries:
            self.entries.update(made)
        else:
            self.entries = made
        self.keys_at[member] = dict.fromkeys(made)
        self.count(member, sum([entry.nbytes for entry in entries if entry.holders]))
        return True

    def add_copies(self, member: MemberId, entries: Sequence[Entry]) -> None:
        """The member has these values as well. The same as `add_holder` for each that it has no mark of."""
        larger: dict[tuple[MemberId, ...], tuple[MemberId, ...]] = {}
        nbytes = 0
        for entry in entries:
            holders = entry.holders
            grown = larger.get(holders)
            if grown is None:
                grown = larger[holders] = holders if member in holders else (*holders, member)
            if grown is not holders:
                entry.holders = grown  # one tuple for all that are in the same places
                nbytes += entry.nbytes
        self.keys_at[member].update(dict.fromkeys([entry.key for entry in entries]))
        self.count(member, nbytes)

    def count(self, member: MemberId, nbytes: int) -> None:
        """The member has so many bytes more (negative: fewer)."""
        self._used_bytes[member] += nbytes
        self.resized.add(member)

    def add_member(self, member: MemberId) -> None:
        self.keys_at.setdefault(member, {})
        self._used_bytes.setdefault(member, 0)

    def remove_member(self, member: MemberId) -> dict[str, Version]:
        """Forget what the member holds. Returns the versions it had, of the value or of a mark."""
        keys = self.keys_at.pop(member, {})
        self._used_bytes.pop(member, None)
        held = {}
        smaller: dict[tuple[MemberId, ...], tuple[MemberId, ...]] = {}
        for key in keys:
            entry = self.entries[key]
            held[key] = entry.version
            holders = entry.holders
            left = smaller.get(holders)
            if left is None:
                left = smaller[holders] = tuple(other for other in holders if other != member)
            entry.holders = left  # one tuple for all that are in the same places
            if member in entry.marks:
                entry.marks = tuple(other for other in entry.marks if other != member)
        return held

    def put(self, key: str, entry: Entry, holders: tuple[MemberId, ...], marks: tuple[MemberId, ...]) -> None:
        """Let `entry` be what is known of the key, with these members."""
        used_bytes = self._used_bytes
        old = self.entries.get(key)
        if old is not None:
            key = old.key
            for member in old.holders:
                used_bytes[member] -= old.nbytes
            self.resized.update(old.holders)
            for member in (*old.holders, *old.marks):
                if member not in holders and member not in marks:
                    self.keys_at[member].pop(key, None)
        self.entries[key] = entry
        entry.key = key
        entry.holders = holders
        entry.marks = marks
        for member in holders:
            self.keys_at[member][key] = None
            used_bytes[member] += entry.nbytes
        self.resized.update(holders)
        for member in marks:
            self.keys_at[member][key] = None

    def add_holder(self, key: str, member: MemberId) -> None:
        """The member has the value now, in the entry's version (and no mark any more)."""
        entry = self.entries[key]
        if member not in entry.holders:
            entry.holders = (*entry.holders, member)
            self.count(member, entry.nbytes)
        if member in entry.marks:
            entry.marks = tuple(other for other in entry.marks if other != member)
        self.keys_at[member][entry.key] = None

    def remove_holder(self, key: str, member: MemberId) -> None:
        """The member does not have the value any more."""
        entry = self.entries[key]
        if member in entry.holders:
            entry.holders = tuple(other for other in entry.holders if other != member)
            self.count(member, -entry.nbytes)
            if member not in entry.marks:
                self.keys_at[member].pop(key, None)

    def add_mark(self, key: str, member: MemberId) -> None:
        entry = self.entries[key]
        if member not in entry.marks:
            entry.marks = (*entry.marks, member)
        self.keys_at[member][entry.key] = None

    def remove_mark(self, key: str, member: MemberId) -> None:
        entry = self.entries[key]
        if member in entry.marks:
            entry.marks = tuple(other for other in entry.marks if other != member)
            if member not in entry.holders:
                self.keys_at[member].pop(key, None)

    def become_lost(self, key: str) -> None:
        """No member has the value any more; the entry stays, so that nobody takes it for absent."""
        self.entries[key].kind = Kind.SUPERSEDED

    def remove(self, key: str) -> None:
        """Forget the key."""
        entry = self.entries.pop(key)
        for member in entry.holders:
            self.count(member, -entry.nbytes)
        for member in (*entry.holders, *entry.marks):
            self.keys_at[member].pop(key, None)
