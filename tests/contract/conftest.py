"""The tiers over which the contract runs, as fixtures; the cases come from `tests.support.tiers`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.tiers.tier import Tier
from tests.support.clock import ManualClock
from tests.support.tiers import TierCase, load_cases

KB = 1024
CASES = load_cases()


def params(cases: list[TierCase]) -> list[Any]:
    """The cases as parameters: the slow ones are left out of the fast run."""
    return [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]


@pytest.fixture(params=params(CASES))
def case(request: pytest.FixtureRequest) -> TierCase:
    chosen: TierCase = request.param
    return chosen


only_evicting = pytest.mark.parametrize("case", params([c for c in CASES if c.evicts]), indirect=True)
only_durable = pytest.mark.parametrize("case", params([c for c in CASES if c.durable]), indirect=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tier(case: TierCase, clock: ManualClock, tmp_path: Path) -> Iterator[Tier]:
    with case.open(tmp_path, clock=clock) as opened:
        yield opened


def block(size_kb: int, fill: int = 0) -> np.ndarray[Any, Any]:
    """Bytes that do not compress, so that budgets mean the same in every tier."""
    return np.random.default_rng(fill).integers(0, 256, size_kb * KB, dtype=np.uint8)
