"""Values are checked before they are cast, and an engram that was made NULL reads as nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memoria import Engrams, IndexOutOfRange, InvalidArgument, InvalidType, MemoriaError

FIELDS = ["engrams_types", "lifespan", "age", "engram_ids", "fire_count", "induce_counts"]


def new_engrams(**fields: Any) -> Engrams:
    data = torch.rand(1, 2, 4, generator=torch.Generator().manual_seed(0))
    return Engrams(data, **{"track_age": True, "track_engram_id": True, "lifespan": 3, **fields})


def as_field(name: str, value: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((1, 2, 2) if name == "induce_counts" else (1, 2), value, dtype=dtype)


@pytest.mark.parametrize(
    ("names", "value", "dtype", "error"),
    [
        (["engrams_types"], 256, torch.int64, InvalidArgument),
        (["engrams_types"], -1, torch.int64, InvalidArgument),
        (["engrams_types"], 4, torch.uint8, InvalidArgument),
        (["fire_count", "induce_counts"], -5, torch.int32, InvalidArgument),
        (["age", "engram_ids", "fire_count", "induce_counts"], 2**31, torch.int64, InvalidArgument),
        (["age", "engram_ids", "fire_count", "induce_counts"], 2**32 + 1, torch.int64, InvalidArgument),
        ([name for name in FIELDS if name != "lifespan"], 2**64 - 1, torch.uint64, InvalidArgument),
        ([name for name in FIELDS if name != "lifespan"], 1.5, torch.float32, InvalidArgument),
        ([name for name in FIELDS if name != "lifespan"], 1e300, torch.float64, InvalidArgument),
        (FIELDS, float("nan"), torch.float32, InvalidArgument),
        (FIELDS, float("inf"), torch.float16, InvalidArgument),
        (FIELDS, 1 + 2j, torch.complex64, InvalidType),
    ],
)
def test_values_that_would_become_others_are_refused(
    names: list[str], value: Any, dtype: torch.dtype, error: type[MemoriaError]
) -> None:
    for name in names:
        field = as_field(name, value, dtype)
        engrams = new_engrams()
        with pytest.raises(error, match=name):
            setattr(engrams, name, field)
        assert engrams == new_engrams()
        if name != "fire_count":
            with pytest.raises(error, match=name):
                new_engrams(**{name: field})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.float64])
def test_values_that_fit_may_have_any_dtype(dtype: torch.dtype) -> None:
    for name in FIELDS:
        engrams = new_engrams()
        setattr(engrams, name, as_field(name, 2, dtype))
        assert (getattr(engrams, name) == 2).all()


@pytest.mark.parametrize("name", FIELDS[:-1])
@pytest.mark.parametrize("value", [10**400, float("nan"), float("-inf")])
def test_numbers_that_cannot_be_are_refused(name: str, value: Any) -> None:
    engrams = new_engrams()
    with pytest.raises(InvalidArgument, match=name):
        setattr(engrams, name, value)
    assert engrams == new_engrams()


def test_a_lifespan_may_be_any_number_of_float32() -> None:
    assert new_engrams(lifespan=10**30).lifespan.tolist() == [[pytest.approx(1e30)] * 2]
    with pytest.raises(InvalidArgument, match="lifespan"):
        new_engrams(lifespan=10**39)


@pytest.mark.parametrize("first", [2**31 - 1, 2**31, 10**300])
def test_ids_that_would_wrap_are_refused(first: int) -> None:
    with pytest.raises(InvalidArgument, match="engram_ids"):
        new_engrams(engram_ids=first)
    assert new_engrams(engram_ids=2**31 - 2).engram_ids.tolist() == [[2**31 - 2, 2**31 - 1]]


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_indices_may_be_of_any_integer_dtype(dtype: torch.dtype) -> None:
    engrams = new_engrams()
    assert torch.equal(engrams.select(torch.tensor([[1]], dtype=dtype)).data, engrams.data[:, 1:])
    for wrong in (2, torch.iinfo(dtype).max):
        with pytest.raises(IndexOutOfRange, match="2 slots"):
            engrams.select(torch.tensor([[wrong]], dtype=dtype))


def test_an_engram_made_null_in_place_has_no_counts() -> None:
    engrams = new_engrams()
    engrams.fire_together_wire_together(torch.tensor([[0, 1]]))
    engrams.engrams_types[0, 0] = 0
    assert engrams.fire_count.tolist() == [[0, 1]]
    assert engrams.induce_counts.tolist() == [[[0, 0], [0, 1]]]
    assert not len(engrams.cofirings().counts)
    (summary,) = engrams.status_summary()
    assert (list(summary.engrams), summary.edges) == ([1], {})
    assert summary.engrams[1].fire_count == 1
