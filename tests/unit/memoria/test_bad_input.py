"""What cannot be used is named, and leaves the network as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memoria import (
    InvalidArgument,
    InvalidShape,
    InvalidType,
    Memoria,
    MemoriaError,
    NoWorkingMemory,
)

GOOD = (4, 16, 5, 3, 4)


def busy_network() -> Memoria:
    torch.manual_seed(0)
    network = Memoria(2, 5, 3, 4, 2, track_age=True, track_id=True)
    for _ in range(6):
        network.add_working_memory(torch.rand(3, 4, 5))
        _, indices = network.remind()
        network.adjust_lifespan_and_memories(indices, torch.randint(0, 4, indices.shape).float())
    network.add_working_memory(torch.rand(3, 4, 5))
    return network


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), "3", None, True])
def test_sizes_that_cannot_be_are_refused(place: int, value: Any) -> None:
    if (place, value) in ((2, 0), (3, 1.5)):
        Memoria(*GOOD[:place], value, *GOOD[place + 1 :])  # no search; a lifespan may be a fraction
        return
    with pytest.raises((InvalidArgument, InvalidType)):
        Memoria(*GOOD[:place], value, *GOOD[place + 1 :])


@pytest.mark.parametrize(
    ("error", "keyword"),
    [
        (InvalidArgument, {"mode": "papers"}),
        (InvalidArgument, {"tie_break": "last"}),
        (InvalidType, {"generator": np.random.default_rng(0)}),
    ],
)
def test_keywords_that_cannot_be_are_refused(error: type[Exception], keyword: dict[str, Any]) -> None:
    with pytest.raises(error):
        Memoria(*GOOD, **keyword)


@pytest.mark.parametrize("place", range(5))
def test_sizes_beyond_all_floats_are_refused(place: int) -> None:
    with pytest.raises(InvalidArgument, match=r"beyond 1\.8e308"):
        Memoria(*GOOD[:place], 10**5000, *GOOD[place + 1 :])


@pytest.mark.parametrize("lifespan", [1e39, 10**300, 3.5e38])
def test_a_lifespan_has_to_be_finite_in_float32(lifespan: float) -> None:
    with pytest.raises(InvalidArgument, match=r"initial_lifespan .* at most 3\.403e\+38 \(float32\)"):
        Memoria(4, 16, 5, lifespan, 4)
    Memoria(4, 16, 5, 3.4e38, 4).add_working_memory(torch.rand(1, 2, 3))


def test_lifespans_do_not_become_infinite() -> None:
    network = busy_network()
    before = network.state_dict()
    for deltas in ([2e38, 2e38], [-2e38, -2e38]):
        with pytest.raises(InvalidArgument, match=r"lifespan_delta goes from .*2e\+38 .* float32"):
            network.adjust_lifespan_and_memories(torch.tensor([[1, 1]] * 3), torch.tensor([deltas] * 3))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.adjust_lifespan_and_memories(torch.tensor([[1]] * 3), torch.full((3, 1), 2e38))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "hpu", "meta", 99, ""])
def test_devices_that_cannot_be_used_are_named(device: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="device"):
        Memoria(*GOOD, device=device)
    Memoria(*GOOD).save(tmp_path / "a")
    with pytest.raises(InvalidArgument, match="device"):
        Memoria.load(tmp_path / "a", device=device)
    with pytest.raises(InvalidType, match="device is a list"):
        Memoria(*GOOD, device=["cpu"])  # type: ignore[arg-type]


def test_reminding_needs_working_memory() -> None:
    network = Memoria(*GOOD)
    with pytest.raises(NoWorkingMemory, match="add_working_memory"):
        network.remind()
    network.add_working_memory(torch.rand(1, 2, 3))
    _, indices = network.remind()
    network.adjust_lifespan_and_memories(indices, torch.zeros(indices.shape))
    with pytest.raises(NoWorkingMemory):
        network.remind()


def test_messages_say_what_was_expected_and_what_came() -> None:
    network = busy_network()
    with pytest.raises(InvalidShape, match=r"batch size 2 and hidden size 5; stored are 3 and 5"):
        network.add_working_memory(torch.rand(2, 4, 5))
    slots = network.engrams.memory_length
    with pytest.raises(IndexError, match=rf"-1 to {slots}; .* to {slots - 1}"):
        network.adjust_lifespan_and_memories(torch.tensor([[-1, slots]] * 3), torch.zeros(3, 2))


def bad_call(rng: np.random.Generator, network: Memoria) -> Callable[[], Any]:
    """A call that has at least one thing wrong with it."""
    slots = network.engrams.memory_length

    def adjust(indices: Any, delta: Any) -> Callable[[], Any]:
        return lambda: network.adjust_lifespan_and_memories(indices, delta)

    def add(data: Any) -> Callable[[], Any]:
        return lambda: network.add_working_memory(data)

    number = int(rng.integers(1, 6))
    indices = torch.from_numpy(rng.integers(-1, slots, (3, number)))
    delta = torch.from_numpy(rng.random((3, number))).float()
    poison = float(rng.choice([np.nan, np.inf, -np.inf]))
    poisoned = torch.rand(3, number, 5)
    poisoned.view(-1)[int(rng.integers(0, poisoned.numel()))] = poison
    poisoned_delta = delta.clone()
    poisoned_delta.view(-1)[int(rng.integers(0, delta.numel()))] = poison
    outside = indices.clone()
    outside[int(rng.integers(0, 3)), 0] = int(rng.choice([-2, slots, slots + 100, -(2**40)]))
    wrong_shape = [3, number, 5]
    wrong_shape[int(rng.integers(0, 3)) % 2 * 2] += int(rng.integers(1, 4))
    calls = [
        add(poisoned),
        add(torch.rand(wrong_shape)),
        add(torch.rand(3, 5)),
        add(torch.rand(3, 1, 1, 5)),
        add(torch.rand(3, 0, 5)),
        add(torch.ones(3, number, 5, dtype=torch.int64)),
        add(torch.ones(3, number, 5, dtype=torch.complex64)),
        add(torch.full((3, number, 5), 1e300, dtype=torch.float64)),
        add(torch.rand(3, number, 5).to_sparse()),
        add(torch.empty(3, number, 5, device="meta")),
        add(rng.random((3, number, 5))),
        add(None),
        adjust(outside, delta),
        adjust(indices, poisoned_delta),
        adjust(indices, delta[:, 1:]),
        adjust(indices, torch.cat([delta, delta])),
        adjust(indices[:2], delta[:2]),
        adjust(indices[0], delta[0]),
        adjust(indices.double(), delta),
        adjust(indices > 0, delta),
        adjust(indices, delta.to(torch.complex64)),
        adjust(indices.numpy(), delta),
        adjust(indices, delta.tolist()),
    ]
    return calls[int(rng.integers(0, len(calls)))]


def test_a_thousand_bad_inputs_leave_the_network_as_it_was() -> None:
    network = busy_network()
    before = network.state_dict()
    rng = np.random.default_rng(3)
    for number in range(1000):
        call = bad_call(rng, network)
        with pytest.raises(MemoriaError) as raised:
            call()
        assert len(str(raised.value)) > 20
        if number % 50 == 49:
            after = network.state_dict()
            assert before.keys() == after.keys()
            assert all(torch.equal(value, after[name]) for name, value in before.items())
    network.remind()


def test_what_callers_pass_is_not_changed() -> None:
    network = busy_network()
    _, indices = network.remind()
    delta = torch.rand(indices.shape)
    kept_indices, kept_delta = indices.clone(), delta.clone()
    network.adjust_lifespan_and_memories(indices, delta)
    data = torch.rand(3, 4, 5)
    kept_data = data.clone()
    network.add_working_memory(data)
    memories, _ = network.remind()
    memories.zero_()
    assert torch.equal(indices, kept_indices)
    assert torch.equal(delta, kept_delta)
    assert torch.equal(data, kept_data)
    assert torch.equal(network.engrams.data[:, -4:], data)
