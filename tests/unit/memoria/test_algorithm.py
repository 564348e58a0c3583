"""The network against the algorithm as plainly written, in both modes and with both kernels."""

import pytest
import torch

from memoria import Memoria
from tests.support.memoria_oracle import OracleMemoria
from tests.support.memoria_runs import Run


@pytest.mark.parametrize("mode", ["reference", "paper"])
@pytest.mark.parametrize("seed", range(6))
def test_the_network_does_what_the_algorithm_says(mode: str, seed: int, monkeypatch) -> None:
    # Squeeze and repack all the time, so that a run this short goes through many of both.
    monkeypatch.setattr("memoria.slots._FEW_DEAD_SLOTS", 3)
    monkeypatch.setattr("memoria.graph._FIRST_POOL_ENTRIES", 8)
    run = Run.random(1000 + seed, steps=60)
    network = Memoria(**run.network_arguments(), mode=mode, tie_break="first")
    oracle = OracleMemoria(**run.network_arguments(), mode=mode)
    for step, data in enumerate(run.data()):
        network.add_working_memory(data)
        oracle.add(data[0].numpy())
        memories, indices = network.remind()
        expected = oracle.remind()
        assert set(indices[0].tolist()) == expected, f"step {step}"
        assert len(expected) == indices.shape[1]
        for memory, index in zip(memories[0], indices[0].tolist(), strict=True):
            wanted = torch.zeros(run.hidden) if index < 0 else torch.from_numpy(oracle.vectors[index]).float()
            assert torch.equal(memory, wanted)
        deltas = run.deltas(indices.numpy(), step)
        network.adjust_lifespan_and_memories(indices, deltas)
        oracle.adjust({i: d for i, d in zip(indices[0].tolist(), deltas[0].tolist(), strict=True) if i >= 0})
        engrams = network.engrams
        assert engrams.engrams_types[0].tolist() == oracle.types
        assert engrams.lifespan[0].tolist() == oracle.lifespans
        assert engrams.induce_counts[0].tolist() == oracle.counts.tolist()


def test_the_runs_above_visit_what_is_special_about_the_reference() -> None:
    """A null candidate that wins, the oldest engram without long-term memory, a search from nowhere."""
    seen = {"null wins": 0, "no longterm": 0, "left out with longterm": 0}
    for seed in range(6):
        run = Run.random(1000 + seed, steps=60)
        network = Memoria(**run.network_arguments(), tie_break="first")
        for step, data in enumerate(run.data()):
            network.add_working_memory(data)
            shortterm = int(network.engrams.shortterm_memory_mask.sum())
            longterm = int(network.engrams.longterm_memory_mask.sum())
            _, indices = network.remind()
            left_out = shortterm > run.num_reminded_stm
            seen["null wins"] += -1 in indices[0].tolist() and not left_out
            seen["no longterm"] += shortterm > 0 and longterm == 0
            seen["left out with longterm"] += left_out and longterm > 0
            network.adjust_lifespan_and_memories(indices, run.deltas(indices.numpy(), step))
    assert all(seen.values()), seen


def test_in_paper_mode_nothing_is_brought_back_from_long_term_memory_before_there_is_any() -> None:
    network = Memoria(2, 8, 2, 9, 2, mode="paper")
    for _ in range(2):
        network.add_working_memory(torch.rand(1, 4, 3))
        _, indices = network.remind()
        network.adjust_lifespan_and_memories(indices, torch.zeros_like(indices))
    assert indices.shape == (1, 3)  # two short-term engrams, and -1 for those left out
    assert (indices >= 0).sum() == 2


def test_ties_are_broken_uniformly() -> None:
    """Chi-square of the long-term engram that a single unlinked short-term one starts from."""
    generator = torch.Generator().manual_seed(5)
    network = Memoria(1, 1, 0, 9, 1, mode="paper", generator=generator)
    vectors = torch.eye(10).expand(1600, -1, -1)
    network.add_working_memory(vectors[:, :9])
    nothing = torch.empty(1600, 0, dtype=torch.int64)
    network.adjust_lifespan_and_memories(nothing, nothing)
    network.add_working_memory(vectors[:, 9:])
    _, indices = network.remind()
    assert (indices[:, 1] == 8).all()  # the short-term engram, the newest of the nine
    hits = torch.bincount(indices[:, 0], minlength=8)
    expected = 1600 / 8
    chi_square = float(((hits - expected) ** 2 / expected).sum())
    assert chi_square < 24.3  # 99.9% of a chi-square distribution with 7 degrees of freedom
