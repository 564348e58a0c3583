"""The cluster's rate limiter as a state machine: holders that live and die, issuers that restart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from memories.actors.replay.core.credits import (
    HOLDER_LEASE_S,
    LEASE_S,
    PATIENCE_S,
    Action,
    Ask,
    Counted,
    CountShards,
    CreditsCore,
    Grant,
    Release,
    Tick,
)
from memories.replay.rate_limiters import Counters, SamplesPerInsert


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Shards:
    """The truth: what two shards have counted."""

    def __init__(self) -> None:
        self.inserted, self.sampled = [0, 0], [0, 0]

    def counted(self, began_s: float) -> Counted:
        return Counted(
            began_s,
            {s: Counters(self.inserted[s], self.inserted[s], self.sampled[s]) for s in range(2)},
        )

    @property
    def totals(self) -> tuple[int, int]:
        return sum(self.inserted), sum(self.sampled)


def grants(commands: list[object]) -> dict[int, int | None]:
    return {c.call: c.lease for c in commands if isinstance(c, Grant)}


def core_at(limiter: SamplesPerInsert, inserted: int, sampled: int) -> tuple[CreditsCore, Clock]:
    clock = Clock()
    core = CreditsCore(limiter, clock, after_restart=False)
    core.handle(Counted(clock.now_s, {0: Counters(inserted, inserted, sampled)}))
    return core, clock


LIMITER = SamplesPerInsert(2.0, min_size=100, tolerance=400)


def test_rows_under_a_lease_count_for_both_sides_until_the_shards_have_them() -> None:
    core, clock = core_at(LIMITER, 100, 0)
    # The balance may reach 200 + 400 = 600: 200 more rows at two samples each, and not one more.
    assert grants(core.handle(Ask(1, Action.INSERT, 200))) == {1: 1}
    assert grants(core.handle(Ask(2, Action.INSERT, 1))) == {}
    core.handle(Release((1,)))
    # A count that began before the release may not have the rows: the lease is held against it.
    assert grants(core.handle(Counted(clock.now_s - 1, {0: Counters(100, 100, 0)}))) == {}
    clock.now_s += 0.1
    assert grants(core.handle(Counted(clock.now_s, {0: Counters(300, 300, 1)}))) == {}
    assert grants(core.handle(Counted(clock.now_s, {0: Counters(300, 300, 2)}))) == {2: 2}


def test_sampling_waits_for_the_smallest_size() -> None:
    core, clock = core_at(LIMITER, 99, 0)
    assert grants(core.handle(Ask(1, Action.SAMPLE, 10))) == {}
    assert grants(core.handle(Counted(clock.now_s, {0: Counters(100, 100, 0)}))) == {1: 1}


def test_a_buffer_that_has_lost_its_rows_is_filled_again() -> None:
    clock = Clock()
    core = CreditsCore(SamplesPerInsert(1.0, min_size=100, tolerance=20), clock, after_restart=False)
    core.handle(Counted(clock.now_s, {0: Counters(size=30, inserted=130, sampled=10)}))
    assert grants(core.handle(Ask(1, Action.SAMPLE, 1))) == {}
    # The rows under a lease count as stored, so that no more than one batch goes beyond the smallest size.
    assert grants(core.handle(Ask(2, Action.INSERT, 60))) == {2: 1}
    assert grants(core.handle(Ask(3, Action.INSERT, 60))) == {3: 2}
    assert grants(core.handle(Ask(4, Action.INSERT, 60))) == {}


def test_a_dead_holders_lease_ends() -> None:
    core, clock = core_at(LIMITER, 100, 0)
    core.handle(Ask(1, Action.INSERT, 200))
    clock.now_s += LEASE_S - 0.1
    assert grants(core.handle(Ask(2, Action.INSERT, 100))) == {}
    clock.now_s += 0.2
    # Only a count that begins now has what the dead holder did under its lease, if it did anything.
    assert grants(core.handle(Tick())) == {}
    assert grants(core.handle(Counted(clock.now_s, {0: Counters(150, 150, 0)}))) == {2: 2}


def test_what_cannot_be_granted_is_answered_with_no() -> None:
    core, clock = core_at(LIMITER, 300, 0)
    core.handle(Ask(7, Action.INSERT, 100))
    clock.now_s += PATIENCE_S
    assert grants(core.handle(Tick())) == {7: None}
    assert core.waiting == 0


def test_a_restarted_issuer_waits_one_lease() -> None:
    clock = Clock()
    core = CreditsCore(LIMITER, clock)
    core.handle(Counted(clock.now_s, {0: Counters(100, 100, 0)}))
    clock.now_s += LEASE_S - 0.1
    assert grants(core.handle(Ask(1, Action.INSERT, 1))) == {}
    clock.now_s += 0.1
    assert grants(core.handle(Counted(clock.now_s, {0: Counters(100, 100, 0)}))) == {1: 1}


def test_a_shard_that_does_not_answer_keeps_its_last_count() -> None:
    core, clock = core_at(LIMITER, 100, 0)
    core.handle(Counted(clock.now_s, {0: Counters(100, 100, 0), 1: Counters(200, 200, 100)}))
    core.handle(Counted(clock.now_s, {0: Counters(110, 110, 0)}))
    # inserted 310, sampled 100: the balance is 520 of 600
    assert grants(core.handle(Ask(1, Action.INSERT, 41))) == {}
    core, clock = core_at(LIMITER, 310, 100)
    assert grants(core.handle(Ask(1, Action.INSERT, 40))) == {1: 1}


@pytest.mark.parametrize("seed", range(8))
def test_the_truth_stays_within_the_tolerance_whatever_happens(seed: int) -> None:
    """Holders that are slow, die with or without using their lease, and an issuer that restarts."""
    rng = np.random.default_rng(seed)
    limiter = SamplesPerInsert(float(rng.choice([0.5, 1.0, 8.0])), min_size=500, tolerance=4_000)
    centre = limiter.min_size * limiter.ratio
    clock, shards = Clock(), Shards()
    core = CreditsCore(limiter, clock, after_restart=False)
    calls = itertools.count(1)
    asked: dict[int, tuple[Action, int, float]] = {}
    holding: list[tuple[int, Action, int, float]] = []  # lease, action, rows, the holder's end
    counting: list[tuple[float, Counted]] = []  # when the answer arrives
    done = 0

    def take(commands: list[object]) -> None:
        for command in commands:
            if isinstance(command, CountShards):
                counting.append((clock.now_s + rng.exponential(0.05), shards.counted(clock.now_s)))
            elif isinstance(command, Grant):
                action, rows, asked_s = asked.pop(command.call, (Action.INSERT, 0, 0.0))
                if command.lease is not None and rows:
                    holding.append((command.lease, action, rows, asked_s + HOLDER_LEASE_S))

    for _ in range(6_000):
        clock.now_s += rng.exponential(0.01)
        for arrival in [c for c in counting if c[0] <= clock.now_s]:
            counting.remove(arrival)
            take(core.handle(arrival[1]))
        if len(asked) < 6:
            action = Action.INSERT if rng.random() < 0.5 else Action.SAMPLE
            rows = int(rng.integers(1, 400 if action is Action.SAMPLE else 100))
            asked[call := next(calls)] = (action, rows, clock.now_s)
            take(core.handle(Ask(call, action, rows)))
        if holding and rng.random() < 0.5:
            lease, action, rows, ends_s = holding.pop(int(rng.integers(len(holding))))
            fate = rng.random()
            if fate < 0.05 or clock.now_s >= ends_s:
                continue  # died before it did anything, or was too slow and may not
            counters = shards.inserted if action is Action.INSERT else shards.sampled
            counters[int(rng.integers(2))] += rows
            done += rows
            if fate > 0.1:  # the others die before they say so
                take(core.handle(Release((lease,))))
        if rng.random() < 0.0005:  # the issuer restarts; those who asked it ask again
            core, counting = CreditsCore(limiter, clock), []
            asked.clear()
        take(core.handle(Tick()))
        inserted, sampled = shards.totals
        balance = inserted * limiter.ratio - sampled
        assert balance >= centre - limiter.tolerance if sampled else True
        assert balance <= centre + limiter.tolerance or inserted <= limiter.min_size
    assert done > 20_000  # nobody was kept waiting for ever
