"""What a tier says of its slots comes back from the columns as it was."""

from __future__ import annotations

import random

from memories.actors.core.catalog import Catalog
from memories.actors.core.inventory import inventory_of
from memories.actors.core.model import Kind, RequestId, Version
from memories.actors.core.rebuild import entries_of
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
