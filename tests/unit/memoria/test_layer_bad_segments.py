"""A segment that cannot be remembered is refused in its own call, and leaves everything as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memoria import Abstractor, InvalidArgument, InvalidShape, InvalidType, MemoriaError

from .test_layer import new_layer


def segments(number: int) -> torch.Tensor:
    return torch.rand(number, 2, 6, 8, generator=torch.Generator().manual_seed(1))


def equal(one: Any, other: Any) -> bool:
    """Whether two nests of plain values and tensors are the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def check_changes_nothing(bad: Any, error: type[MemoriaError], match: str, causal: bool, before: int) -> None:
    """A layer refuses `bad` after so many segments, and goes on as one that has never seen it."""
    outputs = []
    for with_bad in (False, True):
        layer = new_layer(causal=causal, tie_break="first")
        data = segments(before + 4)
        for segment in data[:before]:
            layer(segment)
        if with_bad:
            state, time = layer.memoria.state_dict(), layer.memoria.timestep
            with pytest.raises(error, match=match):
                layer(bad)
            assert layer.memoria.timestep == time
            assert equal(layer.memoria.state_dict(), state)
        outputs.append([layer(segment) for segment in data[before:]])
    for clean, after_bad in zip(*outputs, strict=True):
        assert torch.equal(clean, after_bad)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_segment_that_is_not_finite_changes_nothing(causal: bool, wrong: float, before: int) -> None:
    bad = segments(1)[0].clone()
    bad[1, 2, 3] = wrong
    check_changes_nothing(bad, InvalidArgument, r"hidden_states .*1 values of 96", causal, before)


BAD: dict[str, tuple[Any, type[MemoriaError]]] = {
    "hidden size": (torch.rand(2, 6, 4), InvalidShape),
    "rank 2": (torch.rand(6, 8), InvalidShape),
    "rank 4": (torch.rand(2, 6, 8, 8), InvalidShape),
    "no rows": (torch.rand(0, 6, 8), InvalidShape),
    "no tokens": (torch.rand(2, 0, 8), InvalidShape),
    "half": (torch.rand(2, 6, 8).half(), InvalidType),
    "double": (torch.rand(2, 6, 8).double(), InvalidType),
    "integers": (torch.ones(2, 6, 8, dtype=torch.int64), InvalidType),
    "complex": (torch.ones(2, 6, 8, dtype=torch.complex64), InvalidType),
    "sparse": (torch.rand(2, 6, 8).to_sparse(), InvalidType),
    "no data": (torch.empty(2, 6, 8, device="meta"), InvalidType),
    "a list": ([1], InvalidType),
}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("before", [0, 1, 4])
@pytest.mark.parametrize("what", BAD)
def test_a_segment_that_does_not_fit_changes_nothing(causal: bool, before: int, what: str) -> None:
    bad, error = BAD[what]
    check_changes_nothing(bad, error, "hidden_states", causal, before)


@pytest.mark.parametrize("what", ["hidden size", "rank 2", "rank 4", "half", "integers", "sparse", "a list"])
def test_an_abstractor_names_what_it_cannot_read(what: str) -> None:
    bad, error = BAD[what]
    with pytest.raises(error, match="hidden_states"):
        Abstractor(3, 8, 16)(bad)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_joins_dtypes(causal: bool, dtype: torch.dtype) -> None:
    layer = new_layer(causal=causal, tie_break="first")
    with torch.autocast("cpu", torch.bfloat16):
        for segment in segments(3).to(dtype):
            assert layer(segment).shape == segment.shape
        with pytest.raises(InvalidType, match="float64"):
            layer(torch.rand(2, 6, 8).double())
    layer(segments(1)[0])


def test_autocast_on_the_cpu_does_not_join_norms_of_half_precision() -> None:
    layer = new_layer(causal=False).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InvalidType, match="bfloat16"):
        layer(segments(1)[0])
    assert layer.memoria.timestep == 0


def test_a_layer_may_change_its_dtype_between_two_segments() -> None:
    layer = new_layer()
    for segment in segments(2):
        layer(segment)
    layer.double()
    assert layer(segments(1)[0].double()).dtype == torch.float64
