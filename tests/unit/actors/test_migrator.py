"""When data moves by itself: probation, age, pressure, promotion."""

from __future__ import annotations

import numpy as np
import pytest

from memories.actors.allowance import Allowance
from memories.actors.core.catalog import Catalog, Entry
from memories.actors.core.commands import Located
from memories.actors.core.model import CoreConfig, Kind, MemberInfo, Outcome, StoreOptions, Version
from memories.actors.core.placement import Placement
from memories.actors.migration import SLICES_A_ROUND
from memories.actors.migrator import Migrator, Plan
from memories.actors.residents import Noted
from memories.errors import InvalidType
from memories.tiers.policies import EvictionPolicy, LeastRecentlyUsed, MigrationPolicy

CAPACITY = 10_000


class World:
    """One node with three tiers of 1,000 bytes, and a clock."""

    def __init__(self, policy: MigrationPolicy | None = None) -> None:
        self.now_s = 100.0
        self.catalog = Catalog()
        self.placement = Placement(CoreConfig(), self.catalog, {})
        for tier in ("hot", "warm", "cold"):
            member = f"n/{tier}"
            self.catalog.add_member(member)
            self.placement.admit(MemberInfo(member, "n", tier, 1, tier == "cold", CAPACITY))
        self.migrator = Migrator(
            self.catalog, self.placement, lambda: self.now_s, policy or MigrationPolicy()
        )

    def store(
        self, key: str, tier: str, nbytes: int = 100, priority: float = 0, *, pinned: bool = False
    ) -> None:
        self.note_store(key, tier, nbytes, StoreOptions(priority=priority, pinned=pinned))
        self.digest()

    def note_store(self, key: str, tier: str, nbytes: int, options: StoreOptions) -> None:
        entry = Entry(Version(1, 1), Kind.VALUE, nbytes, (), options)
        self.catalog.put(key, entry, (f"n/{tier}",), ())
        self.migrator.note(Noted.STORED, (key,))

    def read(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            entry = self.catalog.entries[key]
            where = Located(Outcome.OK, entry.version, entry.nbytes, ((entry.holders[0], 1),))
            self.migrator.note_reads((key,), (where,), "reader", "n")
            self.digest()

    def digest(self) -> None:
        while self.migrator.behind:
            self.migrator.digest()

    def plan(self) -> list[Plan]:
        """What is planned; nothing of it is carried out."""
        plans = self.migrator.plan()
        for plan in plans:
            self.migrator.settle(plan, [Outcome.UNAVAILABLE] * len(plan.keys))
        return plans

    def plans(self) -> dict[str, tuple[str, str]]:
        return {key: (plan.tier, plan.reason) for plan in self.plan() for key in plan.keys}

    def carry_out(self, plans: list[Plan] | None = None) -> dict[str, str]:
        moved = {}
        for plan in self.migrator.plan() if plans is None else plans:
            for key in plan.keys:
                self.catalog.put(key, self.catalog.entries[key], (f"n/{plan.tier}",), ())
                moved[key] = plan.tier
            self.migrator.note(Noted.MOVED, plan.keys)
            self.migrator.settle(plan, [Outcome.OK] * len(plan.keys))
        self.digest()
        return moved


def test_what_is_not_read_in_hot_sinks_after_its_probation_and_what_is_read_stays() -> None:
    world = World()
    world.store("read", "hot")
    world.store("unread", "hot")
    world.read("read")
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
    world.read("late")
    assert world.plans() == {}
    world.read("late")
    assert world.plans() == {"late": ("hot", "promotion")}


def test_what_was_stored_into_warm_stays_there_however_often_it_is_read() -> None:
    world = World()
    world.store("placed", "warm")
    world.read("placed", 10)
    assert world.plans() == {}


def test_what_is_read_in_cold_rises_to_warm() -> None:
    world = World()
    world.store("deep", "cold")
    world.read("deep", 2)
    assert world.plans() == {"deep": ("warm", "promotion")}


def test_reads_of_an_earlier_value_do_not_let_the_new_one_rise() -> None:
    """They are looked at after the store, though they came before it."""
    world = World()
    world.store("deep", "cold")
    earlier = Located(Outcome.OK, Version(0, 9), 100, (("n/cold", 1),))
    for _ in range(2):
        world.migrator.note_reads(("deep",), (earlier,), "reader", "n")
    world.digest()
    assert world.plans() == {}


@pytest.mark.parametrize(("tier", "below", "hours"), [("hot", "warm", 24), ("warm", "cold", 72)])
def test_age_sinks_one_tier(tier: str, below: str, hours: float) -> None:
    world = World()
    world.store("old", tier)
    world.read("old")
    world.now_s += hours * 3600 - 1
    assert world.plans() == {}
    world.now_s += 2
    assert world.plans() == {"old": (below, "age")}


def test_pressure_takes_the_least_valuable_first_and_never_what_is_pinned() -> None:
    world = World(MigrationPolicy(eviction="lru"))
    world.store("pinned", "warm", 3_000, pinned=True)
    world.store("important", "warm", 2_000, priority=5)
    world.store("old", "warm", 2_000)
    world.now_s += 1
    world.store("young", "warm", 2_500)
    assert world.plans() == {"old": ("cold", "pressure")}
    plan = world.migrator.make_room("warm", "n", 4_000)
    assert plan == Plan(("old", "young"), "cold", "pressure", "n/warm", nbytes=4_500)
    assert world.migrator.make_room("warm", "n", 8_000) is None
    assert world.migrator.make_room("warm", "n", CAPACITY + 1) is None


def test_two_writers_are_not_given_the_same_room() -> None:
    world = World(MigrationPolicy(eviction="lru"))
    for i in range(10):
        world.store(f"k{i}", "warm", 1_000)
    first, second = (world.migrator.make_room("warm", "n", 3_000) for _ in range(2))
    assert first is not None
    assert second is not None
    assert not set(first.keys) & set(second.keys)


def test_nothing_sinks_below_the_lowest_tier() -> None:
    world = World()
    world.store("full", "cold", 9_900)
    assert world.plans() == {}
    assert world.migrator.make_room("cold", "n", 5_000) is None


def test_a_scan_does_not_push_out_what_is_read_often() -> None:
    """The default policy: the working set stays, whatever passes through."""
    world = World(MigrationPolicy(probation_s=1e9))
    hot_set = [f"hot/{i}" for i in range(40)]
    for key in hot_set:
        world.store(key, "hot")
    for i in range(300):
        for key in hot_set:
            world.read(key)
        world.store(f"scan/{i}", "hot")
        world.carry_out()
    in_hot = world.catalog.keys_at["n/hot"]
    assert all(key in in_hot for key in hot_set)
    assert world.catalog.used_bytes["n/hot"] <= 0.9 * CAPACITY


def test_a_round_hears_of_everything_that_was_stored_one_by_one() -> None:
    """What it had not heard of could not leave, and what is read would have to."""
    world = World()
    for i in range(20):
        world.store(f"read/{i}", "hot")
        world.read(f"read/{i}", times=3)
    for i in range(80):
        world.note_store(f"new/{i}", "hot", 100, StoreOptions())
    for _ in range(SLICES_A_ROUND):
        world.migrator.digest()
    named = list(world.plans())
    assert len(named) >= 20
    assert [key for key in named if not key.startswith("new/")] == []


def test_least_recently_used_is_another_choice_and_loses_to_the_same_scan() -> None:
    world = World(MigrationPolicy(probation_s=1e9, eviction="lru"))
    world.store("hot", "hot")
    for i in range(150):
        world.store(f"scan/{i}", "hot")
        world.carry_out()
    assert "hot" not in world.catalog.keys_at["n/hot"]


class LargestFirst(LeastRecentlyUsed):
    """A user's own policy: the largest key goes first."""

    def _pop(self) -> str | None:
        if not self._order:
            return None
        key = max(self._order, key=self.size_of)
        del self._order[key]
        return key


def test_a_users_own_eviction_policy_decides() -> None:
    world = World(MigrationPolicy(eviction=LargestFirst))
    world.store("small", "warm", 100)
    world.store("large", "warm", 6_000)
    world.store("middle", "warm", 3_500)
    assert world.plans() == {"large": ("cold", "pressure")}


def test_what_is_no_policy_is_refused() -> None:
    def no_policy(capacity_bytes: int) -> EvictionPolicy:
        return capacity_bytes  # type: ignore[return-value]

    world = World(MigrationPolicy(eviction=no_policy))
    with pytest.raises(InvalidType, match="not an EvictionPolicy"):
        world.store("key", "warm")


def test_the_predictor_brings_up_what_comes_next_within_its_budget_and_stops_when_it_is_wrong() -> None:
    world = World(MigrationPolicy(prefetch_bytes=300))
    for i in range(1_000):
        world.store(f"part-{i:03}", "cold")
    fetched: dict[str, str] = {}
    for i in range(40):
        world.read(f"part-{i:03}")
        plans = world.migrator.fetches()
        assert sum(plan.nbytes for plan in plans) <= 300
        fetched |= world.carry_out(plans)
    assert set(fetched.values()) == {"warm"}
    assert {f"part-{i:03}" for i in range(30, 40)} <= set(fetched)
    assert len(fetched) <= 43
    before = world.migrator.prediction
    assert before.is_on
    for i in 44 + np.random.default_rng(0).permutation(900)[:400]:
        world.read(f"part-{i:03}")
        world.carry_out(world.migrator.fetches())
    after = world.migrator.prediction
    assert after.fetched_bytes - before.fetched_bytes <= 0.02 * 40_000
    assert after.wasted_bytes <= 600


def test_a_key_that_cannot_leave_is_not_named_again_and_again() -> None:
    """Of a durable value the copy on disk stays, although it was moved: the move changed nothing there."""
    world = World(MigrationPolicy(probation_s=1))
    world.store("stuck", "hot")
    world.now_s += 2
    (plan,) = world.migrator.plan()
    world.migrator.settle(plan, [Outcome.OK])  # and it is still in hot
    world.now_s += 2
    assert world.plans() == {}
    world.store("stuck", "hot")  # written anew, it counts again
    world.now_s += 2
    assert world.plans() == {"stuck": ("warm", "probation")}


def test_a_tier_below_that_is_full_gives_pause_and_is_tried_again() -> None:
    world = World(MigrationPolicy(probation_s=1))
    world.store("k", "hot")
    world.now_s += 2
    (plan,) = world.migrator.plan()
    world.migrator.settle(plan, [Outcome.FULL])
    assert world.migrator.plan() == []
    world.now_s += 2
    assert world.plans() == {"k": ("warm", "probation")}


def test_what_comes_with_a_member_is_not_on_probation_and_sinks_under_pressure() -> None:
    """After the coordinator's restart nobody knows what was read."""
    world = World()
    for i in range(95):
        entry = Entry(Version(1, 1), Kind.VALUE, 100, (), StoreOptions())
        world.catalog.put(f"k{i}", entry, ("n/hot",), ())
    world.migrator.note_member("n/hot", there=True)
    world.digest()
    world.now_s += 100
    reasons = {reason for _, reason in world.plans().values()}
    assert reasons == {"pressure"}


def test_an_allowance_lets_a_burst_pass_and_then_so_much_a_second() -> None:
    now_s = 0.0
    allowance = Allowance(1_000, lambda: now_s)
    allowance.spend(500)
    assert allowance.wait_s() == 0
    allowance.spend(3_000)
    assert allowance.wait_s() == pytest.approx(3)
    now_s = 100
    allowance.spend(501)
    assert allowance.wait_s() == pytest.approx(0.001)
