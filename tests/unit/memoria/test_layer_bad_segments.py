"""A segment that cannot be remembered is refused in its own call, and leaves everything as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memoria import InvalidArgument

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


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_segment_that_is_not_finite_changes_nothing(causal: bool, wrong: float, before: int) -> None:
    outputs = []
    for with_bad in (False, True):
        layer = new_layer(causal=causal, tie_break="first")
        data = segments(before + 4)
        for segment in data[:before]:
            layer(segment)
        if with_bad:
            bad = data[0].clone()
            bad[1, 2, 3] = wrong
            state, time = layer.memoria.state_dict(), layer.memoria.timestep
            with pytest.raises(InvalidArgument, match=r"hidden_states .*1 values of 96"):
                layer(bad)
            assert layer.memoria.timestep == time
            assert equal(layer.memoria.state_dict(), state)
        outputs.append([layer(segment) for segment in data[before:]])
    for clean, after_bad in zip(*outputs, strict=True):
        assert torch.equal(clean, after_bad)
