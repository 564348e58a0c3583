"""One tier's decisions: probation, ages, priorities, pins, watermarks, rising."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memories.core.policies import MigrationPolicy
from memories.errors import InvalidType, InvalidValue, MemoriesError
from memories.tiers.policies import Due, RiseOnRead, TierPolicy

HOUR_S = 3600.0


def test_the_seeds_migration_example_ends_as_printed() -> None:
    hot = TierPolicy("hot", 8 << 30)
    for number in range(5):
        hot.on_store(f"data_{number}", (number + 1) * 100 << 20, now_s=0.1 * number)
    for turn in range(10):
        hot.on_access("data_0", 0.5 + 0.1 * turn)
        hot.on_access("data_1", 0.5 + 0.1 * turn)
    assert hot.due(3.05) == []
    assert {due.key for due in hot.due(6.5)} == {"data_2", "data_3", "data_4"}
    assert hot.bytes_to_free() == 0


def test_thresholds_are_hours_hours_and_days() -> None:
    policy = MigrationPolicy(
        hot_to_warm_threshold=24, warm_to_cold_threshold=72, cold_to_glacier_threshold=30
    )
    assert policy == MigrationPolicy()
    assert policy.threshold_s("hot") == 24 * HOUR_S
    assert policy.threshold_s("warm") == 72 * HOUR_S
    assert policy.threshold_s("cold") == 30 * 24 * HOUR_S
    assert policy.threshold_s("glacier") == math.inf
    exact = MigrationPolicy(
        hot_to_warm_threshold=timedelta(seconds=5), cold_to_glacier_threshold=timedelta(hours=1)
    )
    assert (exact.threshold_s("hot"), exact.threshold_s("cold")) == (5.0, HOUR_S)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hot_to_warm_threshold": -1}, InvalidValue),
        ({"warm_to_cold_threshold": math.nan}, InvalidValue),
        ({"cold_to_glacier_threshold": "30"}, InvalidType),
        ({"cold_to_glacier_threshold": timedelta(seconds=-1)}, InvalidValue),
        ({"eviction": "mru"}, InvalidValue),
        ({"low_watermark": 0.9, "high_watermark": 0.8}, InvalidValue),
        ({"low_watermark": 0.0}, InvalidValue),
        ({"high_watermark": 1.5}, InvalidValue),
        ({"reads_to_rise": 0}, InvalidValue),
        ({"reads_to_rise": 1.5}, InvalidType),
        ({"probation_s": -1}, InvalidValue),
    ],
)
def test_numbers_that_cannot_be_are_refused(arguments: Any, error: type[MemoriesError]) -> None:
    with pytest.raises(error):
        MigrationPolicy(**arguments)


def test_data_is_due_by_the_age_of_its_last_use() -> None:
    warm = TierPolicy("warm", 1000)
    warm.on_store("old", 1, 0.0)
    warm.on_store("read", 1, 0.0)
    warm.on_access("read", 10.0)
    assert warm.next_due_s() == 72 * HOUR_S
    assert warm.due(72 * HOUR_S - 1) == []
    assert warm.due(72 * HOUR_S) == [Due("old", "age")]
    assert warm.due(72 * HOUR_S) == []
    warm.keep("old")
    assert warm.due(72 * HOUR_S, limit=1) == [Due("old", "age")]
    warm.on_remove("old")
    assert warm.next_due_s() == 72 * HOUR_S + 10
    assert warm.due(72 * HOUR_S + 10) == [Due("read", "age")]


def test_a_key_is_not_named_by_age_and_by_pressure_at_once() -> None:
    warm = TierPolicy("warm", 1000)
    warm.on_store("a", 5, 0.0)
    warm.on_store("b", 5, 0.0)
    assert warm.victims(1, 1.0) == ["a"]
    assert warm.due(1e9) == [Due("b", "age")]
    assert warm.victims(100, 1e9) == []
    warm.on_access("a", 1e9)
    assert warm.victims(100, 1e9) == ["a"]


def test_what_rose_because_it_is_read_is_not_on_probation() -> None:
    hot = TierPolicy("hot", 1000)
    hot.on_store("new", 1, 0.0)
    hot.on_store("risen", 1, 0.0, proven=True)
    assert hot.due(10.0) == [Due("new", "probation")]


def test_what_is_let_go_again_is_on_probation_anew_in_hot_alone() -> None:
    for tier, named in (("hot", [Due("a", "probation")]), ("warm", [])):
        policy = TierPolicy(tier, 1000)
        policy.on_store("a", 1, 0.0, pinned=True)
        policy.set_pinned("a", False, 10.0)
        assert policy.due(12.9) == []
        assert policy.due(13.0) == named


def test_pressure_takes_lower_priorities_first_and_never_what_is_pinned() -> None:
    tier = TierPolicy("warm", 100, MigrationPolicy(eviction="lru"))
    tier.on_store("dear", 10, 0.0, priority=5.0)
    tier.on_store("pinned", 10, 0.0, pinned=True)
    tier.on_store("plain", 10, 1.0)
    tier.on_store("cheap", 10, 2.0, priority=-1.0)
    assert tier.victims(25, 3.0) == ["cheap", "plain", "dear"]
    assert tier.victims(25, 3.0) == []
    tier.set_pinned("pinned", False, 4.0)
    assert tier.victims(25, 4.0) == ["pinned"]
    tier.keep("pinned")
    tier.set_pinned("pinned", True, 5.0)
    assert tier.victims(25, 5.0) == []
    assert tier.due(1e9) == []


def test_a_change_of_priority_counts_at_once() -> None:
    tier = TierPolicy("warm", 100, MigrationPolicy(eviction="lru"))
    for number, key in enumerate("abc"):
        tier.on_store(key, 1, float(number))
    tier.set_priority("a", 1.0, 3.0)
    tier.set_priority("c", -1.0, 3.0)
    assert tier.victims(10, 4.0) == ["c", "b", "a"]
    with pytest.raises(InvalidValue):
        tier.set_priority("a", math.nan, 5.0)


def test_watermarks_work_in_bytes() -> None:
    policy = MigrationPolicy(high_watermark=0.9, low_watermark=0.5)
    assert policy.bytes_to_free(90, 100) == 0
    assert policy.bytes_to_free(91, 100) == 41
    assert policy.bytes_to_free(80, 100, incoming_bytes=20) == 50
    assert policy.bytes_to_free(10, 100, incoming_bytes=500) == 10
    tier = TierPolicy("cold", 100, policy)
    for number in range(19):
        tier.on_store(f"k{number}", 5, float(number))
    needed = tier.bytes_to_free()
    assert needed == 45
    named = tier.victims(needed, 20.0)
    assert len(named) == 9
    assert tier.bytes_to_free() == 0  # those on their way out count already
    tier.keep(named[0])
    assert tier.used_bytes == 95


def test_reading_twice_within_the_window_lets_a_key_rise() -> None:
    rise = RiseOnRead(MigrationPolicy(reads_to_rise=2, rise_window_s=10.0), most_keys=3)
    assert not rise.on_access("a", 0.0)
    assert rise.on_access("a", 5.0)
    assert not rise.on_access("a", 6.0)
    assert not rise.on_access("a", 17.0)
    assert rise.on_access("a", 18.0)
    assert not rise.on_access("b", 20.0)
    for number in range(5):
        rise.on_access(f"scan{number}", 20.0)
    assert not rise.on_access("b", 21.0)
    rise.on_remove("b")
    assert not rise.on_access("b", 22.0)
    assert RiseOnRead(MigrationPolicy(reads_to_rise=1)).on_access("a", 0.0)


def test_what_is_too_large_for_a_tier_is_not_asked_to_rise() -> None:
    assert TierPolicy("hot", 1000).admits(50)
    assert not TierPolicy("hot", 1000).admits(500)
    assert not TierPolicy("hot", 1000, MigrationPolicy(eviction="lru")).admits(1001)


class TierMachine(RuleBasedStateMachine):
    """Every event in any order; what is named by anybody is named once, and never if it is pinned."""

    keys = st.sampled_from([f"k{number}" for number in range(10)])

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.tier = TierPolicy("hot", 100, MigrationPolicy(hot_to_warm_threshold=timedelta(seconds=20)))
        self.known: dict[str, dict[str, Any]] = {}

    @rule(seconds=st.integers(0, 9))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(
        key=keys,
        nbytes=st.integers(0, 30),
        priority=st.sampled_from([0.0, 1.0, -2.0]),
        pinned=st.booleans(),
        proven=st.booleans(),
    )
    def store(self, key: str, nbytes: int, priority: float, pinned: bool, proven: bool) -> None:
        self.tier.on_store(key, nbytes, self.now_s, priority=priority, pinned=pinned, proven=proven)
        self.known[key] = {
            "nbytes": nbytes,
            "priority": priority,
            "pinned": pinned,
            "used": self.now_s,
            "trial": None if proven or pinned else self.now_s,
            "leaving": False,
        }

    @rule(key=keys)
    def access(self, key: str) -> None:
        self.tier.on_access(key, self.now_s)
        if key in self.known:
            self.known[key] |= {"leaving": False, "used": self.now_s, "trial": None}

    @rule(key=keys)
    def remove(self, key: str) -> None:
        self.tier.on_remove(key)
        self.known.pop(key, None)

    @rule(key=keys)
    def keep(self, key: str) -> None:
        self.tier.keep(key)
        if key in self.known:
            self.known[key]["leaving"] = False

    @rule(key=keys, priority=st.sampled_from([0.0, 1.0, 3.0]))
    def set_priority(self, key: str, priority: float) -> None:
        self.tier.set_priority(key, priority, self.now_s)
        if key in self.known and self.known[key]["priority"] != priority:
            self.known[key] |= {"priority": priority, "leaving": False}

    @rule(key=keys, pinned=st.booleans())
    def set_pinned(self, key: str, pinned: bool) -> None:
        self.tier.set_pinned(key, pinned, self.now_s)
        if key in self.known and self.known[key]["pinned"] != pinned:
            trial = None if pinned else self.now_s  # let go again, it is on probation as if it were new
            self.known[key] |= {"pinned": pinned, "leaving": False, "used": self.now_s, "trial": trial}

    def can_leave(self) -> dict[str, dict[str, Any]]:
        return {key: known for key, known in self.known.items() if not (known["leaving"] or known["pinned"])}

    @rule(needed=st.integers(0, 80))
    def victims(self, needed: int) -> None:
        able = self.can_leave()
        named = self.tier.victims(needed, self.now_s)
        assert len(set(named)) == len(named)
        assert set(named) <= able.keys()
        if sum(able[key]["nbytes"] for key in named) < needed:
            assert set(named) == able.keys()
        priorities = [able[key]["priority"] for key in named]
        assert priorities == sorted(priorities)
        left_behind = [able[key]["priority"] for key in able.keys() - set(named)]
        assert not named or not left_behind or min(left_behind) >= priorities[-1]
        for key in named:
            self.known[key]["leaving"] = True

    @rule()
    def due(self) -> None:
        expected = {
            key
            for key, known in self.can_leave().items()
            if known["used"] + 20 <= self.now_s
            or (known["trial"] is not None and known["trial"] + 3 <= self.now_s)
        }
        if any(not known["pinned"] and not known["leaving"] for known in self.known.values()):
            assert not expected or self.tier.next_due_s() <= self.now_s
        named = [due.key for due in self.tier.due(self.now_s)]
        assert len(set(named)) == len(named)
        assert set(named) == expected
        for key in named:
            self.known[key]["leaving"] = True

    @invariant()
    def adds_up(self) -> None:
        assert self.tier.used_bytes == sum(known["nbytes"] for known in self.known.values())
        assert len(self.tier) == len(self.known)
        assert self.tier.leaving_bytes == sum(
            known["nbytes"] for known in self.known.values() if known["leaving"] and not known["pinned"]
        )


TierMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTierMachine = TierMachine.TestCase
