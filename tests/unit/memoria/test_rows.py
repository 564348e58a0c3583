"""A row of a batch is what it would be alone."""

from typing import Any

import pytest
import torch

from memoria import Memoria
from tests.support.memoria_runs import Run


def play(network: Memoria, run: Run, data: torch.Tensor, rows: list[int]) -> list[list[dict[str, Any]]]:
    """For each step and row what the row looks like, without its padding."""
    trace = []
    for step, working in enumerate(data):
        network.add_working_memory(working)
        memories, indices = network.remind()
        ids = network.engrams.engram_ids
        assert ids is not None
        named = torch.where(indices >= 0, ids.gather(1, indices.clamp(min=0)), -1)
        # What an engram gains depends on the engram: rows lose very different numbers of them.
        deltas = torch.cat(
            [run.deltas(named[place : place + 1].numpy(), step, row) for place, row in enumerate(rows)]
        )
        brought = [
            {i: m for i, m in zip(*pair, strict=True) if i >= 0}
            for pair in zip(named.tolist(), memories.double().sum(2).tolist(), strict=True)
        ]
        network.adjust_lifespan_and_memories(indices, torch.where(indices < 0, 0.0, deltas))
        engrams = network.engrams
        step_rows = []
        counts = engrams.induce_counts if step % 20 == 19 else None
        for place in range(len(rows)):
            real = engrams.engrams_types[place] != 0
            step_rows.append(
                {
                    "brought": brought[place],
                    "types": engrams.engrams_types[place][real].tolist(),
                    "lifespan": engrams.lifespan[place][real].tolist(),
                    "ids": engrams.engram_ids[place][real].tolist(),
                    "counts": None if counts is None else counts[place][real][:, real].tolist(),
                }
            )
        trace.append(step_rows)
    return trace


def assert_rows_are_independent(seed: int, mode: str, steps: int) -> None:
    run = Run.random(seed, steps)
    arguments: dict[str, Any] = {
        **run.network_arguments(),
        "mode": mode,
        "tie_break": "first",
        "track_id": True,
    }
    together = play(Memoria(**arguments), run, run.data(4), [0, 1, 2, 3])
    lengths = [[len(row["ids"]) for row in step] for step in together]
    assert any(len(set(step)) > 1 for step in lengths), "no uneven deaths: this run shows nothing"
    for row in range(4):
        alone = play(Memoria(**arguments), run, run.data(4)[:, row : row + 1], [row])
        for step in range(steps):
            assert together[step][row] == alone[step][0], f"row {row}, step {step}"


@pytest.mark.parametrize("mode", ["reference", "paper"])
def test_four_rows_together_are_four_networks(mode: str) -> None:
    assert_rows_are_independent(3, mode, steps=40)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reference", "paper"])
@pytest.mark.parametrize("seed", range(10, 15))
def test_four_rows_together_are_four_networks_for_long(mode: str, seed: int) -> None:
    assert_rows_are_independent(seed, mode, steps=300)


def test_a_row_that_is_empty_does_not_disturb_the_others() -> None:
    """All engrams of one row die in one step."""
    together, alone = (Memoria(2, 3, 2, 4, 2, tie_break="first") for _ in range(2))
    torch.manual_seed(0)
    for step in range(30):
        data = torch.rand(2, 3, 5)
        together.add_working_memory(data)
        alone.add_working_memory(data[:1])
        _, indices = together.remind()
        _, lone_indices = alone.remind()
        shift = together.engrams.memory_length - alone.engrams.memory_length
        row = {int(i) - shift for i in indices[0] if i >= 0}
        assert row == {int(i) for i in lone_indices[0] if i >= 0}
        delta = torch.where(indices >= 0, 1.0, 0.0)
        if step % 7 == 6:
            everyone = torch.arange(together.engrams.memory_length).expand(2, -1)
            kill = torch.zeros(2, together.engrams.memory_length)
            kill[1] = -1000
            kill[0].scatter_add_(0, indices[0].clamp(min=0), delta[0])
            together.adjust_lifespan_and_memories(everyone, kill)
            assert not together.engrams.engrams_types[1].any()
        else:
            together.adjust_lifespan_and_memories(indices, delta)
        alone.adjust_lifespan_and_memories(lone_indices, torch.where(lone_indices >= 0, 1.0, 0.0))
