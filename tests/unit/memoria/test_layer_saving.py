"""A layer whose memories were saved and restored goes on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from memoria import InvalidState, MemoriaLayer

from .test_layer import new_layer
from .test_layer_bad_segments import equal, segments


def restored_from(layer: MemoriaLayer, path: Path, **options: Any) -> MemoriaLayer:
    layer.save_memory(path)
    restored = new_layer(**options)
    restored.load_state_dict(layer.state_dict())
    restored.load_memory(path)
    return restored


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_the_next_outputs_are_the_same(causal: bool, before: int, tmp_path: Path) -> None:
    layer = new_layer(causal=causal)
    data = segments(before + 12)
    for segment in data[:before]:
        layer(segment.transpose(0, 1).contiguous().transpose(0, 1))  # of any strides
    restored = restored_from(layer, tmp_path / "a", causal=causal)
    for segment in data[before:]:
        assert torch.equal(restored(segment), layer(segment))
    assert restored.memoria.timestep == layer.memoria.timestep


def test_the_dtype_of_the_last_segment_stays(tmp_path: Path) -> None:
    layer = new_layer().bfloat16()
    data = segments(6).bfloat16()
    for segment in data[:3]:
        layer(segment)
    layer.save_memory(tmp_path / "a")
    restored = new_layer().bfloat16()
    restored.load_memory(tmp_path / "a")
    for segment in data[3:]:
        assert torch.equal(restored(segment), layer(segment))


def test_what_was_there_before_is_replaced(tmp_path: Path) -> None:
    layer = new_layer()
    layer.save_memory(tmp_path / "empty")
    for segment in segments(3):
        layer(segment)
    layer.memoria.save(tmp_path / "memories")
    layer.load_memory(tmp_path / "empty")
    assert layer.memoria.timestep == 0
    segment = segments(1)[0]
    assert torch.equal(layer(segment), segment)
    layer.load_memory(tmp_path / "memories")
    assert layer.memoria.timestep == 2
    assert torch.equal(layer(segment), segment)


@pytest.mark.parametrize(
    "last",
    [
        torch.rand(2, 6, 4),
        torch.rand(6, 8),
        torch.rand(3, 6, 8),
        torch.rand(2, 0, 8),
        torch.full((2, 6, 8), float("nan")),
        torch.ones(2, 6, 8, dtype=torch.int64),
    ],
)
def test_a_last_segment_that_cannot_be_is_refused_and_changes_nothing(
    last: torch.Tensor, tmp_path: Path
) -> None:
    layer, untouched = new_layer(tie_break="first"), new_layer(tie_break="first")
    data = segments(8)
    for segment in data[:4]:
        layer(segment)
        untouched(segment)
    layer.save_memory(tmp_path / "a")
    save_file({**load_file(tmp_path / "a"), "last_segment": last}, tmp_path / "b")
    with pytest.raises(InvalidState, match="last_segment"):
        layer.load_memory(tmp_path / "b")
    with pytest.raises(InvalidState, match="stm_capacity"):
        new_layer(stm_capacity=9).load_memory(tmp_path / "a")
    assert equal(layer.memoria.state_dict(), untouched.memoria.state_dict())
    for segment in data[4:]:
        assert torch.equal(layer(segment), untouched(segment))


def test_memoria_itself_names_the_entry_that_is_not_its_own(tmp_path: Path) -> None:
    layer = new_layer()
    layer(segments(1)[0])
    layer.save_memory(tmp_path / "a")
    with pytest.raises(InvalidState, match="last_segment"):
        layer.memoria.load(tmp_path / "a")
