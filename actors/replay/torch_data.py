"""`ReplayDataset`: a sampler for `torch.utils.data.DataLoader`, an epoch being a number of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from ...errors import InvalidValue
from ...replay.batch import Batch
from .handle import Replay


def as_drawn(batch: Any) -> Any:
    """For `DataLoader`'s ``collate_fn``: a batch is one already (torch's own takes a TensorDict apart)."""
    return batch


class ReplayDataset(IterableDataset[Any]):
    """Batches of tensors from a replay buffer, for loops and trainers that want a `DataLoader`.

        dataset = ReplayDataset(replay, batch_size=256, batches=1_000)
        for batch in DataLoader(dataset, batch_size=None, collate_fn=as_drawn):
            replay.update_priorities(batch.handles, learn(batch))

    With ``tensordict=True`` each is a TensorDict that has ``weights``, ``probabilities`` and ``handles`` too.
    `options` are those of `Replay.sampler`; drawing ahead is the sampler's, so the loader needs no workers,
    and raises `InvalidValue` where it has some: Ray does not work in a forked process.
    """

    def __init__(
        self,
        replay: Replay,
        *,
        batch_size: int = 256,
        batches: int,
        device: Any = "cpu",
        tensordict: bool = False,
        **options: Any,
    ) -> None:
        if batches < 1:
            raise InvalidValue(f"batches is {batches}, must be at least 1: so many make an epoch")
        self._replay, self._batches, self._tensordict = replay, batches, tensordict
        self._device = device
        self._options = {**options, "batch_size": batch_size}

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._batches

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise InvalidValue("a ReplayDataset draws ahead by itself: use num_workers=0 and batch_size=None")
        # A TensorDict puts its tensors on the device by itself.
        device = None if self._tensordict else self._device
        with self._replay.sampler(device=device, **self._options) as sampler:
            for _ in range(self._batches):
                batch: Batch = next(sampler)
                yield batch.to_tensordict(self._device) if self._tensordict else batch
