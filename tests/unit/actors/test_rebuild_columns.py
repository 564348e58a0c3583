"""What a tier says of its slots comes back from the columns as it was."""

from __future__ import annotations

import random
from dataclasses import replace

from memories.actors.core.catalog import Catalog
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.inventory import Inventory, inventory_of
from memories.actors.core.inventory_entries import entries_at, entries_of
from memories.actors.core.model import Kind, MemberInfo, RequestId, Version
from memories.actors.core.rebuild import Rebuild
from memories.actors.core.tier import Slot


def random_slots(count: int, seed: int) -> dict[str, Slot]:
    """Runs of neighbours that were stored together, and single ones that differ in everything."""
    draw = random.Random(seed)
    slots: dict[str, Slot] = {}
    while len(slots) < count:
        clients = tuple(
            RequestId(f"client {draw.randrange(3)}" if i else "first", draw.randrange(100))
            for i in range(draw.choice((0, 1, 1, 1, 2)))
        )
        version = Version(draw.randrange(1, 3), draw.randrange(50))
        replicas, durable, pinned = draw.randrange(1, 3), draw.random() < 0.3, draw.random() < 0.3
        expires_s = draw.choice((None, None, 17.25, 1e9))
        priority = draw.choice((0.0, 0.0, 2.5, -1.0))
        for _ in range(draw.choice((1, 1, 5))):
            kind = draw.choice(list(Kind))
            slots[f"key {len(slots)}"] = Slot(
                version,
                kind,
                draw.randrange(100) if kind is Kind.VALUE else 0,
                clients,
                7,
                replicas,
                durable,
                pinned,
                priority,
                expires_s,
            )
    return slots


def test_entries_say_what_the_slots_said() -> None:
    for seed in range(20):
        slots = random_slots(200, seed)
        inventory = inventory_of(list(slots), list(slots.values()))
        entries = entries_of(inventory)
        assert len(entries) == len(slots)
        for slot, entry in zip(slots.values(), entries, strict=True):
            assert (entry.version, entry.kind, entry.nbytes) == (slot.version, slot.kind, slot.nbytes)
            assert entry.clients == slot.clients
            assert (entry.replicas, entry.durable, entry.pinned) == (
                slot.replicas,
                slot.durable,
                slot.pinned,
            )
            assert (entry.priority, entry.expires_s) == (slot.priority, slot.expires_s)


def test_an_empty_inventory_has_no_entries() -> None:
    assert entries_of(inventory_of([], [])) == []


def test_fresh_keys_are_taken_in_at_once_and_known_ones_are_not() -> None:
    slots = random_slots(100, 1)
    entries = entries_of(inventory_of(list(slots), list(slots.values())))
    for entry in entries:
        if entry.kind is Kind.VALUE:
            entry.holders = ("m",)
        else:
            entry.marks = ("m",)
    catalog = Catalog()
    catalog.add_member("m")
    catalog.add_member("other")
    assert catalog.add_fresh("m", list(slots), entries)
    assert catalog.used_bytes == {"m": sum(slot.nbytes for slot in slots.values()), "other": 0}
    assert list(catalog.keys_at["m"]) == list(slots)
    before = dict(catalog.entries)
    assert not catalog.add_fresh("other", ["new", "key 5"], entries[:2])
    assert not catalog.add_fresh("other", ["twice", "twice"], entries[:2])
    assert catalog.entries == before
    assert not catalog.keys_at["other"]


class RowByRow(Rebuild):
    """The long way: an entry for every row, merged by itself."""

    def merge_at_start(self, member: str, incarnation: int, inventory: Inventory) -> None:
        self._core.catalog.add_member(member)
        self._merge_each(member, incarnation, inventory.keys, entries_at(member, inventory))


def copied_slots(slots: dict[str, Slot], draw: random.Random) -> dict[str, Slot]:
    """What another member may have of the same keys: mostly the same, some of it older, newer, or gone."""
    copies = {}
    for key, slot in slots.items():
        match draw.randrange(12):
            case 0:
                continue
            case 1:
                slot = replace(slot, version=Version(slot.version.epoch, slot.version.sequence + 1))
            case 2:
                slot = replace(slot, version=Version(slot.version.epoch, slot.version.sequence - 1))
            case 3:
                slot = replace(slot, kind=draw.choice(list(Kind)))
            case 4:
                slot = replace(slot, clients=((*slot.clients, RequestId("late", 5))))
        copies[key] = slot
    return copies


def test_members_are_taken_in_together_as_they_would_be_row_by_row() -> None:
    members = ("a", "b", "c", "d")
    for seed in range(30):
        draw = random.Random(seed)
        everything = random_slots(60, seed)
        reports = []
        for _ in members:
            some = {key: slot for key, slot in everything.items() if draw.random() < 0.7}
            slots = copied_slots(some, draw)
            reports.append(inventory_of(list(slots), list(slots.values())))
        found = []
        for kind in (Rebuild, RowByRow):
            core = CoordinatorCore("owner", lambda: 0.0, lambda: 0.0)
            core.membership.live = {name: MemberInfo(name, name, "warm", 1, False, 1) for name in members}
            rebuild = kind(core)
            for member, report in zip(members, reports, strict=True):
                rebuild.merge_at_start(member, 1, report)
            found.append(
                (
                    {
                        key: (
                            (e.version, e.kind, e.nbytes, e.clients, e.wanted, e.key),
                            (sorted(e.holders), sorted(e.marks)),
                        )
                        for key, e in core.catalog.entries.items()
                    },
                    dict(core.catalog.used_bytes),
                    {member: set(keys) for member, keys in core.catalog.keys_at.items()},
                    {
                        key: sorted((r.member, r.entry.version, r.entry.kind) for r in registers)
                        for key, registers in rebuild._older.items()
                    },
                )
            )
        assert found[0] == found[1]


def test_copies_share_the_name_the_size_and_the_places() -> None:
    """Ten million keys have to fit: what their copies have in common is kept once."""
    core = CoordinatorCore("owner", lambda: 0.0, lambda: 0.0)
    slots = {
        f"key {number}": Slot(Version(1, 1), Kind.VALUE, 1_000, (("c", 1),), 7, 2, False, False, 0.0, None)
        for number in range(10)
    }
    for member in ("a", "b"):
        names = ["".join(key) for key in slots]
        core.rebuild.merge_at_start(member, 1, inventory_of(names, list(slots.values())))
    entries = list(core.catalog.entries.values())
    assert len({id(entry.holders) for entry in entries}) == 1
    assert len({id(entry.nbytes) for entry in entries}) == 1
    for known, first, second in zip(entries, *core.catalog.keys_at.values(), strict=True):
        assert known.key is first is second


def test_a_number_of_copies_that_no_column_holds_means_as_many_as_there_are() -> None:
    slots = list(random_slots(3, 1).values())
    slots[1] = replace(slots[1], replicas=10**6)
    told = inventory_of([f"key {row}" for row in range(3)], slots)
    assert told.replicas.tolist() == [slots[0].replicas, 32767, slots[2].replicas]
