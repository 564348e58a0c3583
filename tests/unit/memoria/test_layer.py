"""Memoria inside a transformer block."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memoria import InvalidArgument, InvalidShape, MemoriaLayer

SETTINGS: dict[str, Any] = {
    "num_reminded_stm": 4,
    "stm_capacity": 8,
    "ltm_search_depth": 2,
    "initial_lifespan": 5,
    "num_final_ltms": 4,
}


def new_layer(**options: Any) -> MemoriaLayer:
    torch.manual_seed(0)
    return MemoriaLayer(8, 2, 3, 16, **{**SETTINGS, **options})


def test_the_first_segment_of_a_causal_layer_has_nothing_to_read() -> None:
    layer = new_layer()
    data = torch.rand(2, 6, 8)
    assert torch.equal(layer(data), data)
    assert not torch.equal(layer(data), data)


def test_a_causal_layer_lets_no_token_see_later_ones_of_its_segment() -> None:
    outputs = []
    for change in (0.0, 5.0):
        layer = new_layer(tie_break="first")
        segments = torch.rand(4, 2, 6, 8, generator=torch.Generator().manual_seed(1))
        segments[-1, :, 3:] += change
        for segment in segments:
            output = layer(segment)
        outputs.append(output)
    assert torch.equal(outputs[0][:, :3], outputs[1][:, :3])
    assert not torch.equal(outputs[0][:, 3:], outputs[1][:, 3:])


def test_earlier_segments_reach_later_outputs() -> None:
    """Three segments back, over the network: what is directly before is the same."""
    outputs = []
    for change in (0.0, 5.0):
        layer = new_layer(tie_break="first", initial_lifespan=50)
        segments = torch.rand(4, 2, 6, 8, generator=torch.Generator().manual_seed(1))
        segments[0] += change
        for segment in segments:
            output = layer(segment)
        outputs.append(output)
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("causal", [True, False])
def test_all_parameters_are_trained(causal: bool) -> None:
    layer = new_layer(causal=causal)
    for _ in range(4):
        output = layer(torch.rand(2, 6, 8))
    output.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_lifespans_come_from_attention() -> None:
    layer = new_layer()
    weights = torch.tensor([[[0.3, 0.1, 0.0], [0.1, 0.1, 0.2]]])
    gains = layer._gains(weights, torch.tensor([[4, 2, -1]]))
    assert torch.allclose(gains, torch.tensor([[2 * 5 * 0.2 / 0.3, 2 * 5 * 0.1 / 0.3, 0.0]]))
    assert layer._gains(weights[..., :0], torch.empty(1, 0, dtype=torch.int64)).shape == (1, 0)


def test_a_new_batch_of_sequences_needs_a_reset() -> None:
    layer = new_layer()
    layer(torch.rand(2, 6, 8))
    layer(torch.rand(2, 6, 8))
    with pytest.raises(InvalidShape, match="reset_memory"):
        layer(torch.rand(3, 6, 8))
    layer.reset_memory()
    layer(torch.rand(3, 6, 8))
    layer(torch.rand(3, 6, 8))
    assert layer.memoria.engrams.batch_size == 3


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidArgument, match="heads"):
        MemoriaLayer(9, 2, 3, 16, **SETTINGS)
    with pytest.raises(InvalidShape, match="segment"):
        new_layer()(torch.rand(6, 8))


def test_half_precision_and_inference_mode() -> None:
    layer = new_layer().bfloat16()
    with torch.inference_mode():
        for _ in range(3):
            assert layer(torch.rand(2, 6, 8).bfloat16()).dtype == torch.bfloat16
    layer(torch.rand(2, 6, 8).bfloat16()).sum().backward()
