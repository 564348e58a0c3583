"""Batches through torch's DataLoader, as tensors and as TensorDicts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from memories.actors.cluster import Cluster
from memories.actors.replay import Replay
from memories.actors.replay.torch_data import ReplayDataset, as_drawn
from memories.errors import InvalidValue
from memories.replay import Schema

SCHEMA = Schema({"obs": ((3,), "float32"), "row": "int64"})


@pytest.fixture(scope="module")
def replay(cluster: Cluster) -> Iterator[Replay]:
    buffer = cluster.replay("loaded", schema=SCHEMA, kind="prioritized", capacity=1_000, shards=2)
    row = np.arange(1_000)
    with buffer.writer() as writer:
        writer.add_batch({"obs": np.repeat(row[:, None], 3, 1).astype("f4"), "row": row})
    yield buffer
    buffer.delete()


def test_a_loader_gives_an_epoch_of_tensors(replay: Replay) -> None:
    loader = DataLoader(ReplayDataset(replay, batch_size=32, batches=5), batch_size=None, collate_fn=as_drawn)
    assert len(loader) == 5
    for _ in range(2):  # every epoch draws anew
        batches = list(loader)
        assert len(batches) == 5
        for batch in batches:
            assert isinstance(batch["obs"], torch.Tensor)
            assert batch["obs"].shape == (32, 3)
            assert (batch["obs"] == batch["row"][:, None]).all()
            assert replay.update_priorities(batch.handles, torch.ones(32)).applied == 32


def test_a_loader_gives_tensordicts(replay: Replay) -> None:
    dataset = ReplayDataset(replay, batch_size=32, batches=3, tensordict=True)
    for batch in DataLoader(dataset, batch_size=None, collate_fn=as_drawn):
        assert batch.batch_size == torch.Size([32])
        assert (batch["obs"] == batch["row"][:, None]).all()
        assert batch["weights"].shape == batch["handles"].shape == (32,)


def test_what_makes_no_sense_is_refused(replay: Replay) -> None:
    with pytest.raises(InvalidValue, match="at least 1"):
        ReplayDataset(replay, batches=0)
    with pytest.raises(InvalidValue, match="num_workers=0"):
        list(
            DataLoader(ReplayDataset(replay, batches=1), batch_size=None, collate_fn=as_drawn, num_workers=1)
        )
