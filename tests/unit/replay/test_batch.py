"""Batches: by column, by row, split, as torch tensors and as a TensorDict."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memories.errors import InvalidValue
from memories.replay import EpisodeSampler, PrioritizedReplayBuffer, ReplayBuffer, shard_of


@pytest.fixture
def buffer() -> PrioritizedReplayBuffer:
    made = PrioritizedReplayBuffer(capacity=100, seed=0, shard=9)
    n = np.arange(50)
    made.add_batch({"obs": {"x": np.outer(n, [1, 2]), "y": n}, "n": n, "done": n % 2 == 1}, n + 1.0)
    return made


def test_rows_are_named_tuples(buffer: PrioritizedReplayBuffer) -> None:
    batch = buffer.sample(7)
    rows = list(batch)
    assert len(rows) == len(batch) == 7
    assert rows[0]._fields == ("obs", "n", "done")
    for row in rows:
        assert row.obs["x"].tolist() == [row.n, 2 * row.n]
        assert row.done == (row.n % 2 == 1)
    assert "obs" in batch
    assert "obs/x" in batch
    assert "o" not in batch
    with pytest.raises(KeyError, match="no column 'o'"):
        batch["o"]


def test_split_and_sample_batches(buffer: PrioritizedReplayBuffer) -> None:
    parts = buffer.sample_batches(3, 8, beta=0.7)
    assert [len(part) for part in parts] == [8, 8, 8]
    twin = PrioritizedReplayBuffer(capacity=100, seed=0, shard=9)
    twin.import_state(buffer.export_state())
    for part in parts:
        found, there = twin.read(part.handles)
        assert there.all()
        assert found["n"].tolist() == part["n"].tolist()
        assert part.weights.shape == part.probabilities.shape == (8,)
    assert buffer.sampled == 24


def test_to_torch_shares_memory_and_goes_back(buffer: PrioritizedReplayBuffer) -> None:
    batch = buffer.sample(16, beta=0.5)
    tensors = batch.to_torch()
    assert isinstance(tensors["n"], torch.Tensor)
    assert tensors["obs"]["x"].shape == (16, 2)
    assert tensors.weights.dtype == torch.float32
    assert tensors.weights.tolist() == batch.weights.tolist()
    batch["n"][0] = 99
    assert tensors["n"][0] == 99
    errors = torch.full((16,), 2.0, requires_grad=True)
    assert buffer.update_priorities(tensors.handles, errors) == (16, 0)
    assert (buffer.priorities_of(tensors.handles) == 2.0).all()
    assert len(tensors) == 16
    assert [len(part) for part in tensors.split(10)] == [10, 6]


@pytest.mark.gpu
def test_to_torch_on_a_device(buffer: PrioritizedReplayBuffer) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batch = buffer.sample(16)
    for pin in (False, True):
        tensors = batch.to_torch("cuda", pin=pin)
        torch.cuda.synchronize()
        assert tensors["n"].device.type == "cuda"
        assert tensors["n"].tolist() == batch["n"].tolist()
        assert buffer.update_priorities(tensors.handles, tensors.weights).applied == 16


def test_to_tensordict(buffer: PrioritizedReplayBuffer) -> None:
    batch = buffer.sample(5)
    content = batch.to_tensordict()
    assert content.batch_size == torch.Size([5])
    assert content["obs", "x"].tolist() == batch["obs/x"].tolist()
    assert content["handles"].tolist() == batch.handles.tolist()


def test_handles_carry_their_shard(buffer: PrioritizedReplayBuffer) -> None:
    batch = buffer.sample(5)
    assert batch.handles.dtype == np.int64
    assert (batch.handles >= 0).all()
    assert (shard_of(batch.handles) == 9).all()
    foreign = PrioritizedReplayBuffer(capacity=100, seed=0, shard=8)
    foreign.add_batch({"n": np.arange(100)})
    assert foreign.update_priorities(batch.handles, 1.0) == (0, 5)
    for stranger in ([-1], [~int(batch.handles[0])], [2**62], [0]):
        assert foreign.update_priorities(stranger, 1.0) == (0, 1)


def test_whole_episodes() -> None:
    buffer = ReplayBuffer(capacity=30, sampler=EpisodeSampler(), seed=0)
    n = np.arange(20)
    buffer.add_batch({"n": n, "done": np.isin(n, [3, 9, 17])})
    batch = buffer.sample(6)
    assert len(batch) == 6
    episodes = [episode["n"].tolist() for episode in batch.episodes()]
    assert {tuple(e) for e in episodes} <= {tuple(range(4)), tuple(range(4, 10)), tuple(range(10, 18))}
    assert batch.lengths.tolist() == [len(e) for e in episodes]
    for wrong in (lambda: list(batch), lambda: batch.split(2), batch.to_tensordict):
        with pytest.raises(InvalidValue, match="episodes"):
            wrong()


def test_equal_seeds_give_equal_batches() -> None:
    def run(seed: int) -> list[list[int]]:
        buffer = PrioritizedReplayBuffer(capacity=20, seed=seed)
        drawn = []
        for i in range(10):
            buffer.add_batch({"n": np.arange(i * 7, i * 7 + 7)})
            batch = buffer.sample(9)
            buffer.update_priorities(batch.handles, batch["n"] + 0.5)
            drawn.append(batch["n"].tolist())
        return drawn

    assert run(3) == run(3)
    assert run(3) != run(4)
