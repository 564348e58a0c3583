"""When data moves by itself: probation, age, pressure, promotion."""

from __future__ import annotations

import pytest

from memories.actors.core.catalog import Catalog, Entry
from memories.actors.core.model import CoreConfig, Kind, MemberInfo, StoreOptions, Version
from memories.actors.core.placement import Placement
from memories.actors.migrator import Migrator, Plan
from memories.tiers.policies import MigrationPolicy

CAPACITY = 1_000


class World:
    """One node with three tiers of 1,000 bytes, and a clock."""

    def __init__(self, policy: MigrationPolicy | None = None) -> None:
        self.now_s = 100.0
        self.catalog = Catalog()
        self.placement = Placement(CoreConfig(), self.catalog, {})
        for tier in ("hot", "warm", "cold"):
            member = f"n/{tier}"
            self.catalog.add_member(member)
            self.placement.ready[member] = MemberInfo(member, "n", tier, 1, tier == "cold", CAPACITY)
        self.migrator = Migrator(
            self.catalog, self.placement, lambda: self.now_s, policy or MigrationPolicy()
        )

    def store(
        self, key: str, tier: str, nbytes: int = 100, priority: float = 0, *, pinned: bool = False
    ) -> None:
        options = StoreOptions(priority=priority, pinned=pinned)
        entry = Entry(Version(1, 1), Kind.VALUE, nbytes, (), options)
        entry.changed_s = self.now_s
        self.catalog.put(key, entry, (f"n/{tier}",), ())
        self.migrator.forgotten([key])

    def plans(self) -> dict[str, tuple[str, str]]:
        return {key: (plan.tier, plan.reason) for plan in self.migrator.plan() for key in plan.keys}

    def carry_out(self) -> None:
        for plan in self.migrator.plan():
            for key in plan.keys:
                self.catalog.put(key, self.catalog.entries[key], (f"n/{plan.tier}",), ())


def test_what_is_not_read_in_hot_sinks_after_its_probation_and_what_is_read_stays() -> None:
    world = World()
    world.store("read", "hot")
    world.store("unread", "hot")
    world.migrator.used(["read"])
    world.now_s += 2.9
    assert world.plans() == {}
    world.now_s += 0.2
    assert world.plans() == {"unread": ("warm", "probation")}


def test_what_sank_unread_rises_again_when_it_is_read_after_all() -> None:
    world = World()
    world.store("late", "hot")
    world.store("never", "hot")
    world.now_s += 4
    world.carry_out()
    world.migrator.used(["late"])
    assert world.plans() == {}
    world.migrator.used(["late"])
    assert world.plans() == {"late": ("hot", "promotion")}


def test_what_was_stored_into_warm_stays_there_however_often_it_is_read() -> None:
    world = World()
    world.store("placed", "warm")
    for _ in range(10):
        world.migrator.used(["placed"])
    assert world.plans() == {}


def test_what_is_read_in_cold_rises_to_warm() -> None:
    world = World()
    world.store("deep", "cold")
    world.migrator.used(["deep"])
    world.migrator.used(["deep"])
    assert world.plans() == {"deep": ("warm", "promotion")}


@pytest.mark.parametrize(("tier", "below", "hours"), [("hot", "warm", 24), ("warm", "cold", 72)])
def test_age_sinks_one_tier(tier: str, below: str, hours: float) -> None:
    world = World()
    world.store("old", tier)
    world.migrator.used(["old"])
    world.now_s += hours * 3600 - 1
    assert world.plans() == {}
    world.now_s += 2
    assert world.plans() == {"old": (below, "age")}


def test_pressure_takes_the_least_valuable_first_and_never_what_is_pinned() -> None:
    world = World()
    world.store("pinned", "warm", 300, pinned=True)
    world.store("important", "warm", 200, priority=5)
    world.store("old", "warm", 200)
    world.now_s += 1
    world.store("young", "warm", 250)
    assert world.plans() == {"old": ("cold", "pressure")}
    plan = world.migrator.make_room("warm", "n", 400)
    assert plan == Plan(("old", "young"), "cold", "pressure")
    assert world.migrator.make_room("warm", "n", 800) is None
    assert world.migrator.make_room("warm", "n", CAPACITY + 1) is None


def test_nothing_sinks_below_the_lowest_tier() -> None:
    world = World()
    world.store("full", "cold", 990)
    assert world.plans() == {}
    assert world.migrator.make_room("cold", "n", 500) is None
