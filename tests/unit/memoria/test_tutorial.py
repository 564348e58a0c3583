"""The tutorial that users come with, as printed, with every output that no random draw decides."""

import torch

from memoria import EngramType, Memoria


def test_the_tutorial_runs_as_printed() -> None:
    torch.manual_seed(42)
    memoria = Memoria(
        num_reminded_stm=4,
        stm_capacity=16,
        ltm_search_depth=5,
        initial_lifespan=3,
        num_final_ltms=4,
    )
    data = torch.rand(2, 8, 64)
    memoria.add_working_memory(data)
    assert len(memoria.engrams) == 16
    assert memoria.engrams.data.shape == torch.Size([2, 8, 64])
    assert torch.equal(memoria.engrams.data, data)
    assert torch.equal(memoria.engrams.lifespan, torch.full((2, 8), 3.0))

    memories, indices = memoria.remind()
    assert memories.shape == (2, 0, 64)
    assert indices.shape == (2, 0)
    assert indices.dtype == torch.int64

    memoria.adjust_lifespan_and_memories(indices, torch.zeros_like(indices))
    assert torch.equal(memoria.engrams.lifespan, torch.full((2, 8), 2.0))
    assert torch.equal(memoria.engrams.engrams_types, torch.full((2, 8), 2, dtype=torch.uint8))
    assert EngramType(2) is EngramType.SHORTTERM

    memoria.add_working_memory(torch.rand(2, 8, 64))
    assert len(memoria.engrams) == 32
    assert torch.equal(memoria.engrams.lifespan, torch.tensor([[2.0] * 8 + [3.0] * 8] * 2))

    memories, indices = memoria.remind()
    assert memories.shape == torch.Size([2, 6, 64])
    assert indices.shape == torch.Size([2, 6])
    for row_memories, row_indices in zip(memories, indices.tolist(), strict=True):
        assert len(set(row_indices)) == 6
        assert 0 in row_indices  # the oldest engram: there is no long-term memory yet
        assert -1 in row_indices  # something was left out
        assert all(-1 <= index < 8 for index in row_indices)
        assert torch.count_nonzero(row_memories[row_indices.index(-1)]) == 0

    memoria.adjust_lifespan_and_memories(indices, torch.full_like(indices, 5))
    expected = torch.tensor([[1.0] * 8 + [2.0] * 8] * 2)
    for row, row_indices in enumerate(indices.tolist()):
        for index in row_indices:
            if index >= 0:
                expected[row, index] = 6
    assert torch.equal(memoria.engrams.lifespan, expected)

    for _ in range(10):
        memoria.add_working_memory(torch.rand(2, 8, 64))
        memories, indices = memoria.remind()
        assert torch.isfinite(memories).all()
        delta = torch.randint_like(indices, 0, 6).float()
        memoria.adjust_lifespan_and_memories(indices, delta)

    types = memoria.engrams.engrams_types
    lifespan = memoria.engrams.lifespan
    assert (types == EngramType.LONGTERM.value).any(dim=1).all()
    assert ((types == EngramType.SHORTTERM.value).sum(dim=1) <= 16).all()
    assert (lifespan[types == EngramType.NULL.value] == -1).all()
    assert (lifespan[types != EngramType.NULL.value] > 0).all()
    assert len(memoria.engrams) == types.numel()
    assert memoria.timestep == 12
    assert memoria.next_engram_id == 96


def test_the_second_reminding_does_not_depend_on_draws() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(42)
        memoria = Memoria(4, 16, 5, 3, 4)
        for _ in range(2):
            memoria.add_working_memory(torch.rand(2, 8, 64))
            _, indices = memoria.remind()
            memoria.adjust_lifespan_and_memories(indices, torch.zeros_like(indices))
        found.append(indices)
    assert torch.equal(found[0], found[1])
