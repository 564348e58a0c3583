"""Rows that cannot be are refused in the same way by every tier, whatever the value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memories.core import ColdMemory, GlacierMemory, HotMemory, WarmMemory
from memories.errors import InvalidType, InvalidValue
from memories.tiers.tier import Tier


@pytest.fixture(params=["hot", "warm", "cold", "glacier"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    match request.param:
        case "hot":
            opened: Tier = HotMemory(0.01, device="cpu")
        case "warm":
            opened = WarmMemory(0.01)
        case "cold":
            opened = ColdMemory(0.01, tmp_path)
        case _:
            opened = GlacierMemory("local", storage_path=tmp_path)
    with opened:
        opened.store("array", np.arange(10))
        opened.store("tensor", torch.arange(10))
        opened.store("texts", ["a", "b", "c", "d"])
        yield opened


@pytest.mark.parametrize(
    "rows",
    [
        {"start": "1"},
        {"start": 1.5},
        {"end": [1]},
        {"rows": [[1], [2, 3]]},
        {"rows": [1.5]},
        {"rows": [True, False]},
        {"rows": 5},
        {"rows": {1, 2}},
        {"rows": ["1"]},
        {"rows": [2**70]},
    ],
    ids=str,
)
def test_rows_that_cannot_be(tier: Tier, rows: dict[str, Any]) -> None:
    for key in ("array", "tensor", "texts"):
        with pytest.raises(InvalidType) as refused:
            tier.retrieve(key, **rows)
        (value,) = rows.values()
        assert repr(value) in str(refused.value)
    assert tier.get_metrics()["hits"] == 0


def test_rows_beyond_every_value(tier: Tier) -> None:
    beyond: list[Any] = [[4, 2**63], np.array([2**64 - 1], np.uint64)]
    one: Any = np.int64(1)
    for key in ("array", "tensor", "texts"):
        for rows in beyond:
            with pytest.raises((InvalidValue, InvalidType)):
                tier.retrieve(key, rows=rows)
        assert len(tier.retrieve(key, start=-(2**70), end=2**70)) == len(tier.retrieve(key))
        assert len(tier.retrieve(key, start=one, end=3)) == 2


@pytest.mark.parametrize("text", ["hello", "héllo", "hello" * 100, "héllo" * 100])
def test_rows_of_a_text_are_its_characters(tier: Tier, text: str) -> None:
    tier.store("text", text)
    assert tier.retrieve("text", start=1, end=3) == text[1:3]
    assert tier.retrieve("text") == text
