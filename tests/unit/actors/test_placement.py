"""Which members are chosen: as if all of them were looked at and sorted, whatever has happened before."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memories.actors.core.catalog import Catalog, Entry
from memories.actors.core.model import CoreConfig, Kind, MemberInfo, StoreOptions, Version
from memories.actors.core.placement import Placement

NODES = ("", "n1", "n2", "n3")
TIERS = ("hot", "warm", "cold", "glacier")
MEMBERS = tuple(f"{node}/{tier}{number}" for node in NODES for tier in TIERS for number in (0, 1))
KEYS = ("k1", "k2", "k3")
SIZES = st.integers(0, 4)
"""Few keys, nodes and sizes, so that what can meet does."""


class Exhaustive:
    """The choices as they are meant: look at everybody, sort, take the first."""

    def __init__(self, config: CoreConfig, catalog: Catalog) -> None:
        self.config = config
        self.catalog = catalog
        self.ready: dict[str, MemberInfo] = {}
        self.reserved_bytes: dict[str, int] = {}
        self.draining: set[str] = set()
        self.losing: dict[str, int] = {}

    def nodes(self, members: Iterable[str]) -> set[str]:
        return {self.ready[member].node for member in members if member in self.ready}

    def choose(
        self, options: StoreOptions, nbytes: int, taken: Collection[str], bad: Collection[str]
    ) -> list[str]:
        chosen = list(taken)
        nodes = self.nodes(taken)
        tiers = self.config.tiers
        tiers = tiers[tiers.index("warm") :] if options.tier is None else (options.tier,)
        if len(nodes) < options.replicas:
            for member in self.candidates(tiers, options.node, nbytes, bad):
                if self.ready[member].node not in nodes:
                    nodes.add(self.ready[member].node)
                    chosen.append(member)
                    if len(nodes) >= options.replicas:
                        break
        durable = any(member in self.ready and self.ready[member].durable for member in chosen)
        if options.durable and not durable:
            for member in self.candidates(("cold", "glacier"), options.node, nbytes, bad):
                if self.ready[member].durable:
                    chosen.append(member)
                    break
        return chosen[len(taken) :]

    def in_tier(
        self,
        tier: str,
        node: str,
        nbytes: int,
        bad: Collection[str],
        *,
        elsewhere: bool,
        but: Collection[str],
    ) -> str | None:
        for member in self.candidates((tier,), node, nbytes, bad):
            on = self.ready[member].node
            if (elsewhere or on == node) and on not in but:
                return member
        return None

    def witnesses(self, nodes: Collection[str]) -> list[str]:
        found: dict[str, str] = {}
        for member in sorted(self.ready):
            info = self.ready[member]
            if info.durable and info.node not in nodes:
                found.setdefault(info.node, member)
        return list(found.values())

    def on_two_nodes(self, members: tuple[str, ...]) -> tuple[str, ...]:
        nodes = self.nodes(members)
        if len(nodes) >= 2:
            return members
        chosen = list(members)
        for member in sorted(self.ready, key=lambda member: (self.ready[member].durable, member)):
            if self.ready[member].node not in nodes:
                nodes.add(self.ready[member].node)
                chosen.append(member)
                if len(nodes) == 2:
                    break
        return tuple(chosen)

    def candidates(self, tiers: Iterable[str], node: str, nbytes: int, bad: Collection[str]) -> list[str]:
        ranks = {tier: rank for rank, tier in enumerate(tiers)}
        found = []
        for member, info in self.ready.items():
            if member in bad or member in self.losing or info.node in self.draining:
                continue
            if info.tier in ranks:
                free = info.capacity_bytes - self.catalog.used_bytes[member] - self.reserved_bytes[member]
                if free >= nbytes:
                    found.append((info.node != node, ranks[info.tier], -free, member))
        return [member for *_, member in sorted(found)]


class PlacementMachine(RuleBasedStateMachine):
    """Everything that changes a choice, in any order."""

    def __init__(self) -> None:
        super().__init__()
        config = CoreConfig()
        self.catalog = Catalog()
        self.expected = Exhaustive(config, self.catalog)
        self.placement = Placement(config, self.catalog, self.expected.losing)

    @initialize(tiers=st.sets(st.sampled_from(TIERS), min_size=1))
    def begin(self, tiers: set[str]) -> None:
        for member in MEMBERS:
            if member.split("/")[1][:-1] in tiers:
                self.admit(member, 8, "cold" in member)

    def there(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.expected.ready)))

    @rule(member=st.sampled_from(MEMBERS), capacity=st.integers(0, 8), durable=st.booleans())
    def admit(self, member: str, capacity: int, durable: bool) -> None:
        if member in self.expected.ready:
            self.dismiss_one(member)
        node, tier = member.split("/")
        info = MemberInfo(member, node, tier[:-1], 1, durable, capacity)
        self.catalog.add_member(member)
        self.placement.admit(info)
        self.expected.ready[member] = info
        self.expected.reserved_bytes[member] = 0

    @precondition(lambda self: self.expected.ready)
    @rule(data=st.data())
    def dismiss(self, data: st.DataObject) -> None:
        self.dismiss_one(self.there(data))

    def dismiss_one(self, member: str) -> None:
        assert self.placement.dismiss(member)
        assert not self.placement.dismiss(member)
        self.catalog.remove_member(member)
        del self.expected.ready[member]
        del self.expected.reserved_bytes[member]
        self.expected.losing.pop(member, None)

    @precondition(lambda self: self.expected.ready)
    @rule(data=st.data())
    def lose_or_find_again(self, data: st.DataObject) -> None:
        member = self.there(data)
        if self.expected.losing.pop(member, None) is None:
            self.expected.losing[member] = 1

    @rule(node=st.sampled_from(NODES))
    def drain(self, node: str) -> None:
        self.placement.drain(node)
        self.expected.draining.add(node)

    @rule(node=st.sampled_from(NODES))
    def undrain(self, node: str) -> None:
        self.placement.undrain(node)
        self.expected.draining.discard(node)

    @precondition(lambda self: self.expected.ready)
    @rule(data=st.data(), nbytes=st.integers(-4, 4))
    def reserve(self, data: st.DataObject, nbytes: int) -> None:
        member = self.there(data)
        self.placement.reserve(member, nbytes)
        self.expected.reserved_bytes[member] += nbytes
        self.placement.reserve("nobody", nbytes)

    @rule(data=st.data(), key=st.sampled_from(KEYS), nbytes=SIZES)
    def put(self, data: st.DataObject, key: str, nbytes: int) -> None:
        there = sorted(self.expected.ready)
        holders = data.draw(st.lists(st.sampled_from(there), unique=True, max_size=3)) if there else []
        self.catalog.put(
            key, Entry(Version(1, 1), Kind.VALUE, nbytes, (), StoreOptions()), tuple(holders), ()
        )

    @precondition(lambda self: self.expected.ready and self.catalog.entries)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.catalog.entries)))
        what = data.draw(st.sampled_from(("add", "remove", "forget")))
        if what == "forget":
            self.catalog.remove(key)
        elif what == "add":
            self.catalog.add_holder(key, self.there(data))
        elif holders := self.catalog.entries[key].holders:
            self.catalog.remove_holder(key, data.draw(st.sampled_from(holders)))

    @rule(
        data=st.data(),
        node=st.sampled_from(NODES),
        tier=st.sampled_from((None, *TIERS)),
        replicas=st.integers(0, 4),
        durable=st.booleans(),
        nbytes=SIZES,
    )
    def choose(
        self, data: st.DataObject, node: str, tier: str | None, replicas: int, durable: bool, nbytes: int
    ) -> None:
        some = st.lists(st.sampled_from(MEMBERS), unique=True, max_size=4)
        taken, bad = tuple(data.draw(some)), tuple(data.draw(some))
        options = StoreOptions(node=node, tier=tier, replicas=replicas, durable=durable)
        assert self.placement.choose(options, nbytes, taken, bad) == self.expected.choose(
            options, nbytes, taken, bad
        )
        but = data.draw(st.sets(st.sampled_from(NODES), max_size=2))
        for elsewhere in (True, False):
            assert self.placement.in_tier(
                tier or "warm", node, nbytes, bad, elsewhere=elsewhere, but=but
            ) == self.expected.in_tier(tier or "warm", node, nbytes, bad, elsewhere=elsewhere, but=but)
        assert self.placement.on_two_nodes(taken) == self.expected.on_two_nodes(taken)
        nodes = self.placement.nodes(taken)
        assert nodes == self.expected.nodes(taken)
        for most in range(-1, 4):
            assert self.placement.witnesses(nodes, most) == self.expected.witnesses(nodes)[: max(0, most)]

    @invariant()
    def whole_orders_agree(self) -> None:
        """Four replicas: one on each node, so nearly everybody is looked at."""
        for tier in TIERS:
            for node in ("", "n2"):
                for nbytes in (0, 4, 8):
                    options = StoreOptions(node=node, tier=tier, replicas=len(NODES))
                    assert self.placement.choose(options, nbytes) == self.expected.choose(
                        options, nbytes, (), ()
                    )

    @invariant()
    def counts_agree(self) -> None:
        assert self.placement.ready == self.expected.ready
        assert self.placement.durable_nodes() == len(self.expected.witnesses(()))
        assert self.placement.node_count == len(self.expected.nodes(self.expected.ready))


TestPlacement = PlacementMachine.TestCase


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_choice_does_not_look_at_every_member(replicas: int) -> None:
    """Sixteen times the members: a choice that looked at all of them would take that much longer."""

    def took_s(nodes: int) -> float:
        catalog = Catalog()
        placement = Placement(CoreConfig(), catalog, {})
        for number in range(nodes):
            for tier in ("warm", "cold"):
                info = MemberInfo(f"n{number:05}/{tier}", f"n{number:05}", tier, 1, tier == "cold", 1 << 30)
                catalog.add_member(info.member)
                placement.admit(info)
        options = StoreOptions(node="n00003", replicas=replicas, durable=True)
        fastest_s = float("inf")
        for _ in range(5):
            started_s = time.perf_counter()
            for _ in range(200):
                for member in placement.choose(options, 100):
                    placement.reserve(member, 100)
                placement.witnesses(("n00003",), 2)
                placement.on_two_nodes(("n00003/warm",))
            fastest_s = min(fastest_s, time.perf_counter() - started_s)
        return fastest_s

    assert took_s(4_000) < 5 * took_s(250)
