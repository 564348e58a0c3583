"""Single promises of the catalog: statistics, expiry, refusals, batches, listing."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from memories.errors import ConflictingWrite, InvalidType, InvalidValue, KeyNotFound
from memories.tiers.catalog import Catalog
from memories.tiers.catalog_inventory import Inventory, Kind
from memories.tiers.record import Record, Version


def inventory_of(count: int, epoch: int = 1, prefix: str = "key/") -> Inventory:
    numbers = np.arange(count)
    return Inventory(
        keys=[f"{prefix}{number:07}" for number in range(count)],
        epochs=np.full(count, epoch),
        sequences=numbers,
        kinds=np.zeros(count, np.uint8),
        sizes=numbers % 1000,
        priorities=np.zeros(count),
        pinned=np.zeros(count, np.bool_),
        expires_s=np.full(count, np.inf),
        created_s=np.zeros(count),
    )


def test_an_entry_tells_all_that_was_put() -> None:
    catalog = Catalog()
    catalog.put(
        "k",
        Version(3, 7),
        nbytes=100,
        holders=["n1/warm", "n2/cold"],
        marks=["n3/cold"],
        priority=2.5,
        pinned=True,
        expires_s=50.0,
        created_s=10.0,
        clients=(("writer", 4),),
    )
    entry = catalog["k"]
    assert (entry.version, entry.nbytes, entry.priority, entry.pinned) == (Version(3, 7), 100, 2.5, True)
    assert (entry.expires_s, entry.created_s, entry.last_used_s) == (50.0, 10.0, 10.0)
    assert entry.holders == {"n1/warm", "n2/cold"}
    assert entry.marks == {"n3/cold"}
    assert (entry.seen("writer"), entry.seen("other")) == (4, -1)
    assert catalog.locations() == ["n1/warm", "n2/cold"]


def test_an_older_write_loses_and_changes_nothing() -> None:
    catalog = Catalog()
    catalog.put("k", Version(2, 1), nbytes=5, holders=["new"])
    with pytest.raises(ConflictingWrite, match="newer than"):
        catalog.put("k", Version(1, 9), nbytes=7, holders=["old"])
    assert catalog["k"].holders == {"new"}
    assert catalog.used_bytes("new") == 5
    assert catalog.used_bytes("old") == 0


def test_reads_are_counted_and_survive_an_overwrite() -> None:
    catalog = Catalog()
    catalog.touch("nobody", 1.0)
    catalog.put("k", Version(1, 1), nbytes=5, holders=["a"], created_s=1.0)
    catalog.touch("k", 3.0)
    catalog.touch("k", 2.0)
    catalog.put("k", Version(1, 2), nbytes=6, holders=["a"], created_s=1.0)
    entry = catalog["k"]
    assert (entry.access_count, entry.last_access_s, entry.last_used_s) == (2, 3.0, 3.0)
    catalog.remove("k")
    catalog.put("other", Version(1, 3))
    assert catalog["other"].access_count == 0


def test_expired_keys_come_earliest_first() -> None:
    catalog = Catalog()
    for number, expires_s in enumerate([30.0, 10.0, None, 20.0]):
        catalog.put(f"k{number}", Version(1, number), expires_s=expires_s)
    assert catalog.expired(25.0) == ["k1", "k3"]
    assert catalog.expired(25.0, limit=1) == ["k1"]
    catalog.change("k1", expires_s=math.inf)
    assert catalog.expired(99.0) == ["k3", "k0"]
    catalog.remove("k3")
    assert catalog.expired(99.0) == ["k0"]
    assert catalog["k1"].expires_s is None


def test_priority_and_pin_change_alone() -> None:
    catalog = Catalog()
    catalog.put("k", Version(1, 1), priority=1.0)
    catalog.change("k", pinned=True)
    catalog.change("k", priority=9.0)
    assert (catalog["k"].priority, catalog["k"].pinned) == (9.0, True)
    with pytest.raises(InvalidValue):
        catalog.change("k", priority=math.nan)
    with pytest.raises(KeyNotFound, match="'nobody'"):
        catalog.change("nobody", pinned=True)


def test_bad_entries_are_refused() -> None:
    catalog = Catalog()
    with pytest.raises(InvalidType):
        catalog.put(5, Version(1, 1))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue):
        catalog.put("k", Version(1, 1), nbytes=-1)
    with pytest.raises(InvalidValue):
        catalog.put("k", Version(1, 1), priority=math.nan)
    assert len(catalog) == 0
    with pytest.raises(KeyNotFound):
        catalog["k"]
    assert catalog.get("k") is None


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ["a", "a"]},
        {"keys": ["a"]},
        {"sizes": np.array([-1, 0])},
        {"priorities": np.array([0.0, np.nan])},
        {"clients": [()]},
    ],
)
def test_inventories_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    columns = inventory_of(2)
    fields = {name: getattr(columns, name) for name in Inventory.__dataclass_fields__}
    with pytest.raises(InvalidValue):
        Inventory(**(fields | change))


def test_an_inventory_says_what_the_records_say() -> None:
    records = [
        Record(
            key="v",
            lengths=(3, 4),
            version=Version(1, 2),
            priority=1.5,
            pinned=True,
            expires_s=9.0,
            created_s=2.0,
        ),
        Record(key="t", lengths=(3,), version=Version(1, 3), tombstone=True, clients={"c": 5}),
    ]
    catalog = Catalog()
    assert catalog.load("here", Inventory.of(records)) == []
    value, tombstone = catalog["v"], catalog["t"]
    assert (value.nbytes, value.priority, value.pinned, value.expires_s) == (7, 1.5, True, 9.0)
    assert (tombstone.kind, tombstone.nbytes, tombstone.marks) == (Kind.TOMBSTONE, 0, {"here"})
    assert tombstone.clients == (("c", 5),)
    assert list(catalog.keys()) == ["v"]


def test_a_rebuild_from_several_locations_is_the_same_in_any_order() -> None:
    newer, older = inventory_of(1000, epoch=2), inventory_of(1500, epoch=1)
    first, second = Catalog(), Catalog()
    assert first.load("new", newer) == []
    assert len(first.load("old", older)) == 1000
    assert second.load("old", older) == []
    assert len(second.load("new", newer)) == 1000
    for key in older.keys:
        assert first[key] == second[key]
    assert first.used_bytes("old") == second.used_bytes("old")
    assert first.used_bytes("new") == int(newer.sizes.sum())


def test_listing_reads_a_photograph() -> None:
    catalog = Catalog()
    for number in range(10):
        catalog.put(f"k{number}", Version(1, number))
    listing = catalog.keys("k")
    catalog.put("k00", Version(1, 98))
    assert next(listing) == "k0"
    catalog.remove("k1")
    catalog.put("k01", Version(1, 99))
    assert list(listing) == [f"k{number}" for number in range(2, 10)]


def test_keys_that_come_and_go_do_not_pile_up() -> None:
    catalog = Catalog()
    tracemalloc.start()
    for number in range(30_000):
        catalog.put(f"key {number}", Version(1, number), holders=["a"], clients=(("c", number), ("d", 1)))
        catalog.remove(f"key {number - 5}")
        if number % 100 == 0:
            list(catalog.keys("key 1"))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(catalog) == 5
    assert taken < 1_000_000


@pytest.mark.slow
def test_a_million_keys_are_rebuilt_in_seconds_and_stay_lean() -> None:
    inventory = inventory_of(1_000_000)
    tracemalloc.start()
    catalog = Catalog()
    catalog.load("n1/warm", inventory)
    catalog.load("n2/warm", inventory)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken / 1_000_000 < 250  # the keys themselves belong to the inventory
    assert len(list(catalog.keys("key/00012"))) == 100
    assert catalog.used_bytes("n2/warm") == int(inventory.sizes.sum())
    assert len(catalog.remove_location("n1/warm")) == 0
    assert len(catalog.remove_location("n2/warm")) == 1_000_000
