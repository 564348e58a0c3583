"""`Catalog`: where every key is, in which version, with the bytes of each member counted.

It holds only what can be rebuilt from the members' inventories. Every change goes through its methods,
which keep three things together: the entries, the keys of each member, and the bytes of each member.
"""

from __future__ import annotations

from .model import Clients, Kind, MemberId, StoreOptions, Version


class Entry:
    """What is known of one key. Only `Catalog` changes `version`, `kind`, `nbytes`, `holders`, `marks`."""

    __slots__ = (
        "changed_s",
        "clients",
        "durable",
        "expires_s",
        "holders",
        "kind",
        "marks",
        "nbytes",
        "pinned",
        "priority",
        "replicas",
        "version",
    )

    def __init__(self, version: Version, kind: Kind, nbytes: int, clients: Clients, options: StoreOptions):
        self.version = version
        self.kind = kind
        self.nbytes = nbytes
        self.clients = clients
        self.replicas = options.replicas
        self.durable = options.durable
        self.priority = options.priority
        self.expires_s = options.expires_s
        self.pinned = options.pinned
        self.holders: tuple[MemberId, ...] = ()
        """Members with the value in this version."""
        self.marks: tuple[MemberId, ...] = ()
        """Members with a tombstone or a superseded mark, of this version or an older one."""
        self.changed_s = 0.0

    def options(self, tier: str | None) -> StoreOptions:
        """What the entry asks for, as options for a placement in a tier."""
        return StoreOptions(
            tier=tier,
            replicas=self.replicas,
            durable=self.durable,
            priority=self.priority,
            expires_s=self.expires_s,
            pinned=self.pinned,
        )

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


class Catalog:
    """Entries by key; not thread-safe."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.keys_at: dict[MemberId, dict[str, None]] = {}
        """Keys of which the member holds the value or a mark, in the order in which it got them."""
        self.used_bytes: dict[MemberId, int] = {}

    def add_member(self, member: MemberId) -> None:
        self.keys_at.setdefault(member, {})
        self.used_bytes.setdefault(member, 0)

    def remove_member(self, member: MemberId) -> dict[str, Version]:
        """Forget what the member holds. Returns the versions it had, of the value or of a mark."""
        keys = self.keys_at.pop(member, {})
        self.used_bytes.pop(member, None)
        held = {}
        for key in keys:
            entry = self.entries[key]
            held[key] = entry.version
            if member in entry.holders:
                entry.holders = tuple(other for other in entry.holders if other != member)
            if member in entry.marks:
                entry.marks = tuple(other for other in entry.marks if other != member)
        return held

    def put(self, key: str, entry: Entry, holders: tuple[MemberId, ...], marks: tuple[MemberId, ...]) -> None:
        """Let `entry` be what is known of the key, with these members."""
        old = self.entries.get(key)
        if old is not None:
            for member in old.holders:
                self.used_bytes[member] -= old.nbytes
            for member in (*old.holders, *old.marks):
                if member not in holders and member not in marks:
                    self.keys_at[member].pop(key, None)
        self.entries[key] = entry
        entry.holders = holders
        entry.marks = marks
        for member in holders:
            self.keys_at[member][key] = None
            self.used_bytes[member] += entry.nbytes
        for member in marks:
            self.keys_at[member][key] = None

    def add_holder(self, key: str, member: MemberId) -> None:
        """The member has the value now, in the entry's version (and no mark any more)."""
        entry = self.entries[key]
        if member not in entry.holders:
            entry.holders = (*entry.holders, member)
            self.used_bytes[member] += entry.nbytes
        if member in entry.marks:
            entry.marks = tuple(other for other in entry.marks if other != member)
        self.keys_at[member][key] = None

    def remove_holder(self, key: str, member: MemberId) -> None:
        """The member does not have the value any more."""
        entry = self.entries[key]
        if member in entry.holders:
            entry.holders = tuple(other for other in entry.holders if other != member)
            self.used_bytes[member] -= entry.nbytes
            if member not in entry.marks:
                self.keys_at[member].pop(key, None)

    def add_mark(self, key: str, member: MemberId) -> None:
        entry = self.entries[key]
        if member not in entry.marks:
            entry.marks = (*entry.marks, member)
        self.keys_at[member][key] = None

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
            self.used_bytes[member] -= entry.nbytes
        for member in (*entry.holders, *entry.marks):
            self.keys_at[member].pop(key, None)
