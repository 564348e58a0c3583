"""What a tier actor obeys, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memories.actors.core.commands import CopyMany, DropMany, MarkMany, PutMany, ResetMember, TakeInventory
from memories.actors.core.events import Done, InventoryReported
from memories.actors.core.model import (
    STAMP_BITS,
    Fence,
    Kind,
    MemberInfo,
    Outcome,
    Refusal,
    RequestId,
    StoreOptions,
    Version,
)
from memories.actors.core.tier import Action, Erase, Fetch, Fetched, Respond, Slot, TierCore, Write, Written

ME = MemberInfo("n1/warm", "n1", "warm", 7, durable=False, capacity_bytes=1000)


def fence(number: int, epoch: int = 1, incarnation: int = 7, settled: int = 0) -> Fence:
    base = epoch << STAMP_BITS
    return Fence("n1/warm", incarnation, epoch, base + number, base + settled)


def put(number: int, version: int, key: str = "a", size: int = 10, **more: Any) -> PutMany:
    request = RequestId("c", number)
    options = StoreOptions()
    return PutMany(
        fence(number, **more), request, Version(1, version), (key,), (size,), None, (version,), options, {}
    )


def drop(number: int, version: int, *, exact: bool = True, **more: Any) -> DropMany:
    return DropMany(fence(number, **more), ("a",), (Version(1, version),), exact)


def carry_out(tier: TierCore, command: Any) -> Done:
    """Do what the tier says until it answers."""
    actions: list[Action] = tier.handle(command)
    while True:
        action = actions.pop(0)
        if isinstance(action, Respond):
            assert isinstance(action.answer, Done)
            return action.answer
        assert isinstance(action, Write | Erase)
        actions += tier.handle(Written(action.ticket))


@pytest.fixture
def tier() -> TierCore:
    return TierCore(ME)


def test_older_epochs_other_lives_and_settled_commands_are_refused(tier: TierCore) -> None:
    carry_out(tier, put(5, 1, epoch=3))
    assert carry_out(tier, put(9, 2, epoch=2)).refusal is Refusal.EPOCH
    assert carry_out(tier, put(9, 2, epoch=3, incarnation=6)).refusal is Refusal.INCARNATION
    carry_out(tier, put(12, 3, epoch=3, settled=11))
    assert carry_out(tier, put(10, 2, epoch=3)).refusal is Refusal.SETTLED
    assert tier.slots["a"].version == Version(1, 3)


def test_a_late_put_does_not_undo_a_drop(tier: TierCore) -> None:
    carry_out(tier, put(1, 1))
    carry_out(tier, drop(3, 1))
    assert carry_out(tier, put(2, 1)).outcomes == (Outcome.STALE,)
    assert carry_out(tier, put(4, 1)).outcomes is None  # what was sent after the drop is meant


def test_a_late_drop_leaves_what_was_put_after_it_was_sent(tier: TierCore) -> None:
    carry_out(tier, put(2, 1))
    carry_out(tier, drop(1, 1))
    assert "a" in tier.slots


def test_a_drop_takes_its_version_or_up_to_its_version(tier: TierCore) -> None:
    carry_out(tier, put(1, 2))
    carry_out(tier, drop(2, 3))
    carry_out(tier, drop(3, 1, exact=False))
    assert "a" in tier.slots
    carry_out(tier, drop(4, 3, exact=False))
    assert "a" not in tier.slots
    assert tier.used_bytes == 0


def test_a_repeated_command_gets_the_same_answer_without_being_done_again(tier: TierCore) -> None:
    first = carry_out(tier, put(1, 1))
    carry_out(tier, drop(2, 1))
    assert tier.handle(put(1, 1)) == [Respond(first)]


def test_the_inventory_waits_for_writes_and_shuts_out_the_old_epoch(tier: TierCore) -> None:
    (write,) = tier.handle(put(1, 1))
    assert isinstance(write, Write)
    assert tier.handle(TakeInventory(fence(1, epoch=2))) == []
    assert carry_out(tier, put(2, 2)).refusal is Refusal.EPOCH
    report = tier.handle(Written(write.ticket))[-1]
    assert isinstance(report, Respond)
    assert isinstance(report.answer, InventoryReported)
    assert report.answer.inventory.keys == ["a"]
    assert list(report.answer.inventory.clients()) == [(("c", 1),)]


def test_a_copy_that_arrives_after_something_newer_is_dropped(tier: TierCore) -> None:
    copy = CopyMany(fence(1), "n2/warm", 3, ("a",), (Version(1, 1),), (10,))
    (fetch,) = tier.handle(copy)
    assert isinstance(fetch, Fetch)
    carry_out(tier, put(2, 2))
    slot = Slot(Version(1, 1), Kind.VALUE, 10, ())
    (respond,) = tier.handle(Fetched(fetch.ticket, (slot,)))
    assert isinstance(respond, Respond)
    assert isinstance(respond.answer, Done)
    assert respond.answer.outcomes == (Outcome.STALE,)


def test_two_writes_of_one_key_do_not_overlap(tier: TierCore) -> None:
    (first,) = tier.handle(put(1, 1))
    assert tier.handle(put(2, 2)) == []
    assert isinstance(first, Write)
    answer, second = tier.handle(Written(first.ticket))
    assert isinstance(answer, Respond)
    assert isinstance(second, Write)
    assert second.slots[0].version == Version(1, 2)


def test_what_does_not_fit_changes_nothing(tier: TierCore) -> None:
    carry_out(tier, put(1, 1, size=900))
    assert carry_out(tier, put(2, 2, key="b", size=200)).outcomes == (Outcome.FULL,)
    assert carry_out(tier, put(3, 3, size=1000)).outcomes is None  # in place of the 900
    assert tier.used_bytes == 1000


def test_a_tombstone_outranks_what_is_older(tier: TierCore) -> None:
    carry_out(tier, put(1, 1))
    carry_out(tier, MarkMany(fence(2), Kind.TOMBSTONE, Version(1, 2), ("a",), {"a": (("c", 2),)}))
    assert tier.slots["a"].kind is Kind.TOMBSTONE
    assert carry_out(tier, put(3, 1)).outcomes == (Outcome.STALE,)
    assert tier.used_bytes == 0


def test_only_the_newest_coordinator_resets_a_member(tier: TierCore) -> None:
    carry_out(tier, put(1, 1, epoch=3))
    assert tier.reset(ResetMember("n1/warm", 7, 2), 8) == []
    assert tier.reset(ResetMember("n1/warm", 6, 3), 8) == []
    assert tier.reset(ResetMember("n1/warm", 7, 3), 8) != []
    assert tier.slots == {}
    assert tier.info == replace(ME, incarnation=8, highest_epoch=3)


def test_a_mark_takes_the_place_of_what_is_withdrawn_though_that_is_newer(tier: TierCore) -> None:
    carry_out(tier, put(1, 5))
    mark = MarkMany(fence(3), Kind.SUPERSEDED, Version(1, 2), ("a",), {}, withdrawn=Version(1, 5))
    assert carry_out(tier, mark).outcomes is None
    assert (tier.slots["a"].version, tier.slots["a"].kind) == (Version(1, 2), Kind.SUPERSEDED)
    assert carry_out(tier, put(2, 5)).outcomes == (Outcome.STALE,)  # it was sent before
    assert carry_out(tier, put(4, 6)).outcomes is None


@pytest.mark.parametrize("here", [4, 6])
def test_a_mark_leaves_what_is_newer_and_not_withdrawn(tier: TierCore, here: int) -> None:
    carry_out(tier, put(1, here))
    mark = MarkMany(fence(2), Kind.SUPERSEDED, Version(1, 2), ("a",), {}, withdrawn=Version(1, 5))
    assert carry_out(tier, mark).outcomes == (Outcome.STALE,)
    assert tier.slots["a"].version == Version(1, here)


def test_a_mark_leaves_what_was_put_again_after_it_was_sent(tier: TierCore) -> None:
    carry_out(tier, put(3, 5))
    mark = MarkMany(fence(2), Kind.SUPERSEDED, Version(1, 2), ("a",), {}, withdrawn=Version(1, 5))
    assert carry_out(tier, mark).outcomes == (Outcome.STALE,)
    assert tier.slots["a"].kind is Kind.VALUE
