"""Saved and restored networks go on as if they had never stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from memoria import InvalidState, Memoria

SETTINGS: dict[str, Any] = {
    "num_reminded_stm": 3,
    "stm_capacity": 6,
    "ltm_search_depth": 3,
    "initial_lifespan": 4,
    "num_final_ltms": 3,
}


def walk(network: Memoria, steps: int, seed: int, rows: int = 3) -> list[Any]:
    """Steps with random data and lifespans; what came back in each, and the end."""
    generator = torch.Generator().manual_seed(seed)
    trace: list[Any] = []
    for _ in range(steps):
        network.add_working_memory(torch.rand(rows, 4, 5, generator=generator))
        memories, indices = network.remind()
        delta = torch.randint(0, 6, indices.shape, generator=generator).float()
        network.adjust_lifespan_and_memories(indices, delta)
        trace.append((indices.tolist(), memories.tolist(), network.engrams.lifespan.tolist()))
    trace.append(network.engrams.induce_counts.tolist())
    return trace


def through_dict(network: Memoria, _folder: Path, restored: Memoria) -> Memoria:
    restored.load_state_dict(network.state_dict())
    return restored


def through_file(network: Memoria, folder: Path, restored: Memoria) -> Memoria:
    network.save(folder / "network.safetensors")
    assert restored.load(folder / "network.safetensors") is restored
    return restored


def through_class(network: Memoria, folder: Path, restored: Memoria) -> Memoria:
    network.save(str(folder / "network.safetensors"))
    return Memoria.load(str(folder / "network.safetensors"), generator=restored.generator)


@pytest.mark.parametrize("way", [through_dict, through_file, through_class])
@pytest.mark.parametrize("generator", [None, 7])
@pytest.mark.parametrize("before", [0, 1, 40])
def test_the_next_50_steps_are_the_same(
    way: Callable[[Memoria, Path, Memoria], Memoria],
    generator: int | None,
    before: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memoria.slots._FEW_DEAD_SLOTS", 10)

    def new() -> Memoria:
        own = None if generator is None else torch.Generator().manual_seed(generator)
        return Memoria(**SETTINGS, track_age=True, track_id=True, generator=own)

    torch.manual_seed(1)
    network = new()
    walk(network, before, seed=1)
    restored = way(network, tmp_path, new())
    assert restored.engrams == network.engrams
    expected = walk(network, 50, seed=2)
    assert walk(restored, 50, seed=2) == expected
    assert (restored.timestep, restored.next_engram_id) == (before + 50, (before + 50) * 4)


def test_a_step_can_be_cut_in_two(tmp_path: Path) -> None:
    """Saved between remind and adjust, in half precision."""
    network = Memoria(**SETTINGS)
    walk(network, 5, seed=1)
    network.add_working_memory(torch.rand(3, 4, 5).half())
    network.save(tmp_path / "a")
    restored = Memoria.load(tmp_path / "a")
    memories, indices = network.remind()
    again, again_indices = restored.remind()
    assert torch.equal(indices, again_indices)
    assert memories.dtype == again.dtype == torch.float16
    assert torch.equal(memories, again)


def test_the_history_is_saved_too(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="keep_history"):
        network = Memoria(**SETTINGS, keep_history=True)
    walk(network, 6, seed=1)
    network.save(tmp_path / "a")
    with pytest.warns(UserWarning, match="keep_history"):
        restored = Memoria(**SETTINGS, keep_history=True)
    restored.load(tmp_path / "a")
    assert network.history is not None
    assert restored.history is not None
    assert [h.summaries for h in restored.history] == [h.summaries for h in network.history]
    assert [h.engram_firings for h in restored.history] == [h.engram_firings for h in network.history]


def test_other_settings_are_refused_and_change_nothing() -> None:
    network, other = Memoria(**SETTINGS), Memoria(**{**SETTINGS, "stm_capacity": 7})
    walk(network, 4, seed=1)
    walk(other, 3, seed=2)
    before = other.state_dict()
    with pytest.raises(InvalidState, match="stm_capacity"):
        other.load_state_dict(network.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_a_state_is_a_copy() -> None:
    network = Memoria(**SETTINGS)
    walk(network, 4, seed=1)
    state = network.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    walk(network, 4, seed=2)
    assert all(torch.equal(value, before[name]) for name, value in state.items())


def broken_states(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """States that have one thing wrong, by what it is."""
    huge = torch.full_like(state["link_targets"], 10_000)
    own = torch.zeros_like(state["link_targets"])
    return {
        "no mapping": [1, 2],
        "missing": {k: v for k, v in state.items() if k != "lifespan"},
        "unknown": {**state, "extra": torch.zeros(1)},
        "dtype": {**state, "lifespan": state["lifespan"].double()},
        "no tensor": {**state, "data": state["data"].numpy()},
        "rank": {**state, "data": state["data"][0]},
        "shape": {**state, "lifespan": state["lifespan"][:, 1:]},
        "nan": {**state, "data": torch.full_like(state["data"], float("nan"))},
        "types": {**state, "engrams_types": state["engrams_types"] + 9},
        "link targets": {**state, "link_targets": huge},
        "links to itself": {**state, "link_targets": own},
        "too few links": {**state, "link_counts": state["link_counts"][1:]},
        "negative links": {**state, "link_numbers": -state["link_numbers"]},
        "zero counts": {**state, "link_counts": torch.zeros_like(state["link_counts"])},
        "fire counts": {**state, "fire_counts": state["fire_counts"] - 100},
        "about": {**state, "about": torch.zeros(5, dtype=torch.uint8)},
        "empty about": {**state, "about": torch.tensor(list(b"{}"), dtype=torch.uint8)},
        "generator": {**state, "generator": torch.zeros(3, dtype=torch.uint8)},
    }


def test_broken_states_are_named_and_change_nothing() -> None:
    network = Memoria(**SETTINGS)
    walk(network, 8, seed=1)
    before = network.state_dict()
    for what, state in broken_states(network.state_dict()).items():
        with pytest.raises(InvalidState) as raised:
            network.load_state_dict(state)
        assert str(raised.value), what
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_damaged_files_are_refused_or_read_as_something_valid(tmp_path: Path) -> None:
    network = Memoria(**SETTINGS)
    walk(network, 8, seed=1)
    path = tmp_path / "a"
    network.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(good)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(0, len(damaged))]
        for _ in range(int(rng.integers(1, 30))):
            if damaged:
                damaged[rng.integers(0, len(damaged))] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            walk(Memoria.load(path), 1, seed=2)
        except InvalidState:
            refused += 1
    assert refused > 75


def test_saving_draws_nothing_where_the_network_never_will() -> None:
    network = Memoria(**SETTINGS, tie_break="first")
    before = torch.random.get_rng_state()
    walk(network, 4, seed=1)
    network.state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_engram_whose_type_was_changed_to_null_is_not_saved() -> None:
    network = Memoria(**SETTINGS, tie_break="first")
    walk(network, 4, seed=1)
    network.engrams.engrams_types[0, 0] = 0
    restored = Memoria(**SETTINGS, tie_break="first")
    restored.load_state_dict(network.state_dict())
    assert restored.engrams == network.engrams
    assert walk(restored, 20, seed=2) == walk(network, 20, seed=2)


@pytest.mark.parametrize("rows", [0, 1, 4, None])
def test_a_history_of_other_rows_is_refused(rows: int | None) -> None:
    tracked = {**SETTINGS, "track_age": True, "track_id": True, "keep_history": True}
    network = Memoria(**tracked)
    walk(network, 2, seed=1)
    state = network.state_dict()
    about = json.loads(bytes(state["about"].numpy()))
    about["history"] = None if rows is None else (about["history"] * 2)[:rows]
    state["about"] = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
    other = Memoria(**tracked)
    with pytest.raises(InvalidState, match=r"history of . rows.* 3 rows of engrams"):
        other.load_state_dict(state)
    assert other.timestep == len(other.engrams) == 0
    other.load_state_dict(network.state_dict())
    walk(other, 1, seed=2)


def test_a_timestep_that_cannot_be_is_refused() -> None:
    state = Memoria(**SETTINGS).state_dict()
    about = json.loads(bytes(state["about"].numpy()))
    text = json.dumps({**about, "timestep": float("inf")})
    state["about"] = torch.tensor(list(text.encode()), dtype=torch.uint8)
    with pytest.raises(InvalidState, match="infinity"):
        Memoria(**SETTINGS).load_state_dict(state)


def test_flags_of_numpy_can_be_saved(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"track_age": np.bool_(True), "track_id": np.bool_(False)}
    network = Memoria(**SETTINGS, **flags)
    walk(network, 3, seed=1)
    network.save(tmp_path / "a")
    restored = Memoria.load(tmp_path / "a")
    assert restored.track_age is True
    assert restored.track_id is False
    assert restored.engrams == network.engrams


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        Memoria(**SETTINGS).save(tmp_path / "absent" / "network")


def test_a_file_that_safetensors_cannot_write_is_named(tmp_path: Path, monkeypatch) -> None:
    def full_disk(*_arguments: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match=r"network cannot be written: No space"):
        Memoria(**SETTINGS).save(tmp_path / "network")
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch) -> None:
    network = Memoria(**SETTINGS)
    walk(network, 3, seed=1)
    network.save(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    walk(network, 3, seed=2)

    def full_disk(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        network.save(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_is_not_a_saved_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidState, match="text"):
        Memoria.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        Memoria.load(tmp_path / "absent")
