"""The catalog against a dictionary of sets, through every mutation, whole inventories included."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memories.errors import ConflictingWrite
from memories.tiers.catalog import Catalog, Outdated
from memories.tiers.catalog_inventory import Inventory, Kind
from memories.tiers.record import Record, Version

KEYS = ["", "a", "ab", "abc", "b", "ba/1", "ba/2", "\U0001f600", "\U0010ffff\U0010ffff"]
LOCATIONS = ["n1/hot", "n1/warm", "n2/warm", "n2/cold"]

keys = st.sampled_from(KEYS)
places = st.sampled_from(LOCATIONS)
place_sets = st.sets(places, max_size=3)
versions = st.builds(Version, st.integers(0, 2), st.integers(0, 3))
clients = st.dictionaries(st.sampled_from(["c1", "c2"]), st.integers(0, 5), max_size=2)
inventories = st.dictionaries(
    keys,
    st.tuples(versions, st.sampled_from(Kind), st.integers(0, 50), clients),
    max_size=6,
)


@dataclass
class Known:
    version: Version
    kind: Kind
    nbytes: int
    holders: set[str]
    marks: set[str]
    clients: dict[str, int] = field(default_factory=dict)
    accesses: int = 0


class CatalogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.catalog = Catalog()
        self.model: dict[str, Known] = {}

    @rule(
        key=keys,
        version=versions,
        nbytes=st.integers(0, 50),
        holders=place_sets,
        marks=place_sets,
        seen=clients,
    )
    def put(
        self,
        key: str,
        version: Version,
        nbytes: int,
        holders: set[str],
        marks: set[str],
        seen: dict[str, int],
    ) -> None:
        old = self.model.get(key)
        if old is not None and old.version > version:
            with pytest.raises(ConflictingWrite):
                self.catalog.put(key, version, nbytes=nbytes, holders=holders)
            return
        outdated = self.catalog.put(
            key, version, nbytes=nbytes, holders=holders, marks=marks, clients=tuple(seen.items())
        )
        assert outdated == ((old.holders | old.marks) - holders - marks if old else set())
        accesses = old.accesses if old else 0
        self.model[key] = Known(version, Kind.VALUE, nbytes, set(holders), set(marks), dict(seen), accesses)

    @rule(location=places, held=inventories)
    def load(self, location: str, held: dict[str, tuple[Version, Kind, int, dict[str, int]]]) -> None:
        records = [
            Record(
                key=key,
                lengths=(size,),
                version=version,
                clients=seen,
                tombstone=kind == Kind.TOMBSTONE,
                superseded=kind == Kind.SUPERSEDED,
            )
            for key, (version, kind, size, seen) in held.items()
        ]
        expected = []
        for key, (version, kind, length, seen) in held.items():
            known = self.model.get(key)
            nbytes = 0 if kind == Kind.TOMBSTONE else length
            if known is None or known.version < version:
                if known is not None:
                    expected += [
                        Outdated(key, other) for other in known.holders | known.marks if other != location
                    ]
                accesses = known.accesses if known else 0
                known = self.model[key] = Known(version, kind, nbytes, set(), set(), dict(seen), accesses)
            elif known.version > version:
                expected.append(Outdated(key, location))
                continue
            (known.holders if kind == Kind.VALUE else known.marks).add(location)
            known.clients = {
                name: max(known.clients.get(name, -1), seen.get(name, -1)) for name in known.clients | seen
            }
            if kind == Kind.VALUE:
                known.nbytes = nbytes
                known.kind = Kind.VALUE if known.kind == Kind.SUPERSEDED else known.kind
        found = self.catalog.load(location, Inventory.of(records))
        assert sorted(found, key=repr) == sorted(expected, key=repr)

    @rule(key=keys, location=places, version=versions)
    def add_holder(self, key: str, location: str, version: Version) -> None:
        known = self.model.get(key)
        accepted = known is not None and known.version == version
        assert self.catalog.add_holder(key, location, version) == accepted
        if known is not None and accepted:
            known.holders.add(location)
            known.marks.discard(location)
            known.kind = Kind.VALUE if known.kind == Kind.SUPERSEDED else known.kind

    @rule(key=keys, location=places)
    def remove_holder(self, key: str, location: str) -> None:
        self.catalog.remove_holder(key, location)
        if key in self.model:
            self.model[key].holders.discard(location)

    @rule(key=keys, location=places, adds=st.booleans())
    def mark(self, key: str, location: str, adds: bool) -> None:
        if key not in self.model:
            self.catalog.remove_mark(key, location)
        elif adds:
            self.catalog.add_mark(key, location)
            self.model[key].marks.add(location)
        else:
            self.catalog.remove_mark(key, location)
            self.model[key].marks.discard(location)

    @rule(key=keys)
    def remove(self, key: str) -> None:
        assert self.catalog.remove(key) == (self.model.pop(key, None) is not None)

    @rule(location=places)
    def remove_location(self, location: str) -> None:
        bereft = {key for key, known in self.model.items() if known.holders == {location}}
        for known in self.model.values():
            known.holders.discard(location)
            known.marks.discard(location)
        assert set(self.catalog.remove_location(location)) == bereft

    @rule(key=keys)
    def touch(self, key: str) -> None:
        self.catalog.touch(key, 5.0)
        if key in self.model:
            self.model[key].accesses += 1

    @rule(prefix=st.sampled_from(["", "a", "ab", "ba/", "x", "\U0010ffff"]))
    def list_keys(self, prefix: str) -> None:
        expected = sorted(key for key in self.model if key.startswith(prefix))
        assert list(self.catalog.keys(prefix, kind=None)) == expected
        values = [key for key in expected if self.model[key].kind == Kind.VALUE]
        assert list(self.catalog.keys(prefix)) == values

    @invariant()
    def agrees(self) -> None:
        assert len(self.catalog) == len(self.model)
        for key, known in self.model.items():
            entry = self.catalog[key]
            assert entry.version == known.version == self.catalog.version(key)
            assert (entry.kind, entry.nbytes) == (known.kind, known.nbytes)
            assert entry.holders == known.holders == self.catalog.holders(key)
            assert entry.marks == known.marks
            assert dict(entry.clients) == known.clients
            assert entry.access_count == known.accesses
        for location in LOCATIONS:
            held = {key: known for key, known in self.model.items() if location in known.holders}
            assert set(self.catalog.keys_at(location)) == set(held)
            assert self.catalog.used_bytes(location) == sum(known.nbytes for known in held.values())
            assert self.catalog.held_count(location) == len(held)
            marked = {key for key, known in self.model.items() if location in known.marks}
            assert set(self.catalog.keys_at(location, marks=True)) == marked
        assert set(self.catalog.without_holders()) == {
            key for key, known in self.model.items() if not known.holders and known.kind != Kind.TOMBSTONE
        }


CatalogMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestCatalogMachine = CatalogMachine.TestCase
