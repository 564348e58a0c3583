"""The simulator must notice: each of these takes one safeguard out of the coordinator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from memories.actors.core.catalog import Entry
from memories.actors.core.catch_up import CatchUp
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.model import Kind, MemberId, Version
from memories.actors.core.rebuild import Rebuild
from memories.actors.core.store_group import StoreGroup
from memories.actors.core.stores import StoreRequest, Stores
from memories.actors.core.transfers import Transfers

from .scenario import Failure, run_seed


class NoVersionCheck(Transfers):
    """Commits a copy and deletes its source without looking whether the version is still the same."""

    def still_current(self, key: str, version: Version) -> bool:
        entry = self._core.catalog.entries.get(key)
        return entry is not None and entry.kind is Kind.VALUE


class HastyGroup(StoreGroup):
    """Acknowledges when the first copy stands."""

    def advance(self) -> None:
        if self.good and not self.finished and self.failed is None:
            self._commit()
        elif not self.finished:
            super().advance()


class HastyStores(Stores):
    def make_group(
        self, request: StoreRequest, rows: list[int], targets: list[MemberId], old: tuple[MemberId, ...]
    ) -> StoreGroup:
        return HastyGroup(request, rows, targets, old)


class ForgetfulRebuild(Rebuild):
    """Does not read tombstones."""

    def merge_at_start(self, member: MemberId, incarnation: int, inventory: Any) -> None:
        keep = [row for row, kind in enumerate(inventory.kinds.tolist()) if kind != Kind.TOMBSTONE]
        super().merge_at_start(member, incarnation, inventory.take(keep))


class Careless(CatchUp):
    """Takes copies of one version for the same, whatever they say of their key."""

    def compare(self, key: str, known: Entry, copy: Entry) -> None: ...


def no_version_check(*arguments: Any) -> CoordinatorCore:
    core = CoordinatorCore(*arguments)
    core.transfers = NoVersionCheck(core)
    return core


def acknowledge_early(*arguments: Any) -> CoordinatorCore:
    core = CoordinatorCore(*arguments)
    core.stores = HastyStores()
    return core


def forget_tombstones(*arguments: Any) -> CoordinatorCore:
    core = CoordinatorCore(*arguments)
    core.rebuild = ForgetfulRebuild(core)
    return core


def never_catch_up(*arguments: Any) -> CoordinatorCore:
    core = CoordinatorCore(*arguments)
    core.catch_up = Careless(core, "test")
    return core


def first_failure(make_core: Callable[..., CoordinatorCore], first_seed: int) -> str:
    for seed in range(first_seed, first_seed + 100):
        try:
            run_seed(seed, 200, make_core)
        except Failure as failure:
            return str(failure)
    pytest.fail("100 seeds passed without noticing the bug")


@pytest.mark.parametrize(
    ("make_core", "first_seed", "symptom"),
    [
        (no_version_check, 0, r"there is|bytes are nowhere|read of|says lost|nobody knows"),
        (acknowledge_early, 0, r"acknowledges \S+ with \d copies|before any fsync"),
        (never_catch_up, 0, r"says \S+ of \S+, not|was acknowledged, and it says"),
        (forget_tombstones, 0, r"was deleted, the coordinator says|read of|nobody knows of it"),
    ],
)
def test_a_bug_is_caught(make_core: Callable[..., CoordinatorCore], first_seed: int, symptom: str) -> None:
    headline, *trace = first_failure(make_core, first_seed).splitlines()
    assert re.match(r"seed \d+, event \d+: ", headline)
    assert re.search(symptom, headline), headline
    assert len(trace) > 20
