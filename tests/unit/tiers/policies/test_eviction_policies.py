"""What every eviction policy promises, each order against a naive one, and libCacheSim as the reference."""

from __future__ import annotations

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchmarks.policies import Trace, misses, replay, replay_reference, traces
from memories.errors import InvalidValue
from memories.tiers.policies import EVICTION_POLICIES, CostAware, EvictionPolicy, S3Fifo, eviction_policy

keys = st.sampled_from([f"k{number}" for number in range(12)])
sizes = st.integers(0, 40)


class PolicyMachine(RuleBasedStateMachine):
    """Any order of events: bytes add up, nobody is named twice, and pressure is always relieved."""

    name = ""

    def __init__(self) -> None:
        super().__init__()
        self.policy: EvictionPolicy = eviction_policy(self.name, 200)
        self.sizes: dict[str, int] = {}
        self.leaving: set[str] = set()

    @rule(key=keys, nbytes=sizes)
    def store(self, key: str, nbytes: int) -> None:
        self.policy.on_store(key, nbytes)
        self.sizes[key] = nbytes
        self.leaving.discard(key)

    @rule(key=keys)
    def access(self, key: str) -> None:
        self.policy.on_access(key)
        self.leaving.discard(key)

    @rule(key=keys)
    def remove(self, key: str) -> None:
        self.policy.on_remove(key)
        self.sizes.pop(key, None)
        self.leaving.discard(key)

    @rule(key=keys)
    def take(self, key: str) -> None:
        self.policy.take(key)
        if key in self.sizes:
            self.leaving.add(key)

    @rule(key=keys)
    def keep(self, key: str) -> None:
        was_leaving = key in self.leaving
        self.policy.keep(key)
        self.leaving.discard(key)
        if was_leaving and self.sizes[key]:
            assert self.policy.victims(1)[-1:] == [key]
            self.leaving.add(key)

    @rule(needed=st.integers(-5, 300), removes=st.booleans())
    def evict(self, needed: int, removes: bool) -> None:
        staying = self.sizes.keys() - self.leaving
        named = self.policy.victims(needed)
        assert len(set(named)) == len(named)
        assert set(named) <= staying
        found = [self.sizes[key] for key in named]
        if sum(found) < needed:
            assert set(named) == staying
        elif found:
            assert sum(found[:-1]) < needed  # not one more than it takes
        self.leaving |= set(named)
        if removes:
            for key in named:
                self.remove(key)

    @invariant()
    def adds_up(self) -> None:
        assert self.policy.used_bytes == sum(self.sizes.values())
        assert self.policy.leaving_bytes == sum(self.sizes[key] for key in self.leaving)
        assert len(self.policy) == len(self.sizes)
        for key, nbytes in self.sizes.items():
            assert key in self.policy
            assert self.policy.size_of(key) == nbytes
            assert self.policy.is_leaving(key) == (key in self.leaving)


def machine_of(policy_name: str) -> Any:
    machine = type(f"Machine_{policy_name}", (PolicyMachine,), {"name": policy_name})
    machine.TestCase.settings = settings(
        max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    return machine.TestCase


TestLru = machine_of("lru")
TestLfu = machine_of("lfu")
TestS3Fifo = machine_of("s3fifo")
TestCost = machine_of("cost")


def order_after(policy: EvictionPolicy, events: str) -> str:
    """The order in which keys leave after events: a letter stores it or reads it."""
    for key in events:
        if key in policy:
            policy.on_access(key)
        else:
            policy.on_store(key, 1)
    return "".join(policy.victims(10**9))


@pytest.mark.parametrize(
    ("name", "events", "order"),
    [
        ("lru", "abcda", "bcda"),
        ("lru", "aaabc", "abc"),
        ("lfu", "aaabcc", "bca"),
        ("lfu", "abab", "ab"),
        ("cost", "aabcc", "bac"),
    ],
)
def test_the_order_by_example(name: str, events: str, order: str) -> None:
    assert order_after(eviction_policy(name, 100), events) == order


def test_a_scan_does_not_push_out_what_is_used_in_s3fifo() -> None:
    policy = S3Fifo(100)
    for number in range(50):
        policy.on_store(f"used{number}", 1)
    for _ in range(3):
        for number in range(50):
            policy.on_access(f"used{number}")
    for number in range(1000):
        while policy.used_bytes >= 100:
            policy.on_remove(policy.victims(1)[0])
        policy.on_store(f"scan{number}", 1)
    assert sum(f"used{number}" in policy for number in range(50)) == 50


def test_a_deleted_key_is_no_ghost_and_an_evicted_one_is() -> None:
    def comes_back_to_main(evicted: bool) -> bool:
        policy = S3Fifo(100)
        policy.on_store("key", 5)
        if evicted:
            assert policy.victims(1) == ["key"]
        policy.on_remove("key")
        policy.on_store("other", 5)
        policy.victims(5)  # the tier has been full, so newcomers go to the small queue
        policy.on_remove("other")
        policy.on_store("key", 5)
        policy.on_store("newer", 5)
        return policy.victims(1) == ["newer"]

    assert comes_back_to_main(evicted=True)
    assert not comes_back_to_main(evicted=False)


def test_cost_prefers_what_is_small_and_dear() -> None:
    policy = CostAware(1000, cost_of=lambda nbytes: 500 if nbytes == 100 else 1)
    policy.on_store("large", 400)
    policy.on_store("small", 4)
    policy.on_store("dear", 100)
    assert policy.victims(10**9) == ["large", "small", "dear"]


def test_cost_forgets_what_was_popular_once() -> None:
    policy = CostAware(50)
    policy.on_store("old", 1)
    for _ in range(20):
        policy.on_access("old")
    for number in range(3000):
        while policy.used_bytes >= 50:
            policy.on_remove(policy.victims(1)[0])
        policy.on_store(f"new{number}", 1)
        policy.on_access(f"new{number}")
    assert "old" not in policy


@pytest.mark.parametrize("trace", traces(8_000), ids=lambda trace: trace.name)
def test_lru_and_s3fifo_miss_as_libcachesim_does(trace: Trace) -> None:
    capacity = trace.footprint_bytes // 10
    hits = list(replay(eviction_policy("lru", capacity), trace))
    assert hits == list(replay_reference("LRU", capacity, trace))
    missed = misses(replay(S3Fifo(capacity), trace))
    assert missed == pytest.approx(misses(replay_reference("S3FIFO", capacity, trace)), rel=0.01)


def test_the_default_beats_lru_on_zipf_scans_and_loops() -> None:
    for trace in traces(16_000):
        if "shifting" in trace.name:
            continue
        for fraction in (0.05, 0.2):
            capacity = int(trace.footprint_bytes * fraction)
            default = misses(replay(eviction_policy(EVICTION_POLICIES[0], capacity), trace))
            lru = misses(replay(eviction_policy("lru", capacity), trace))
            assert default < lru, trace.name


@pytest.mark.parametrize("name", EVICTION_POLICIES)
def test_memory_stays_bounded_under_churn(name: str) -> None:
    policy = eviction_policy(name, 100)
    rng = np.random.default_rng(0)

    def churn(first: int) -> None:
        for number in range(first, first + 5_000):
            while policy.used_bytes > 90:
                for victim in policy.victims(1):
                    policy.on_remove(victim)
            policy.on_store(f"key {number}", int(rng.integers(0, 3)))
            policy.on_access(f"key {number - int(rng.integers(0, 20))}")
            if policy.used_bytes == 0 or len(policy) > 300:
                policy.on_remove(f"key {number}")

    churn(0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    churn(5_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 400_000


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidValue, match="choose from"):
        eviction_policy("mru", 10)
    with pytest.raises(InvalidValue, match="negative"):
        eviction_policy("lru", -1)
    policy = eviction_policy("lru", 10)
    with pytest.raises(InvalidValue):
        policy.on_store("k", -1)
    assert len(policy) == 0
    for event in (policy.on_access, policy.on_remove, policy.keep, policy.take):
        event("nobody")
    assert len(policy) == 0
