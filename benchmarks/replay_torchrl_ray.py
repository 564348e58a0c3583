"""TorchRL's buffer in a Ray actor, with the rows of `benchmarks.replay_cluster`.

Run by it with the interpreter of TorchRL's environment, in a Ray of its own. Needs torch, tensordict,
torchrl and ray only.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import ray
import torch
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

from benchmarks.served import serve

ROWS, BATCH = 100_000, 256


def make_rows(count: int) -> TensorDict:
    return TensorDict(
        {
            "obs": torch.rand(count, 17),
            "act": torch.rand(count, 6),
            "rew": torch.rand(count),
            "next_obs": torch.rand(count, 17),
            "done": torch.rand(count) < 0.1,
        },
        batch_size=[count],
    )


def make_buffer() -> Any:
    return TensorDictReplayBuffer(
        storage=partial(LazyTensorStorage, ROWS),
        batch_size=BATCH,
        service_backend="ray",
        service_backend_options={"remote_config": {"num_cpus": 0}},
        transport="auto",
    )


def main() -> None:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    buffer = make_buffer()
    for _ in range(10):
        buffer.extend(make_rows(ROWS // 10))
    assert len(buffer) == ROWS

    def sample(calls: int) -> float:
        started_s = time.perf_counter()
        for _ in range(calls):
            batch = buffer.sample()
        took_s = time.perf_counter() - started_s
        assert len(batch) == BATCH
        return took_s

    def insert(size: int, rows: int, target: Any = buffer) -> float:
        blocks = [make_rows(size) for _ in range(rows // size)]
        started_s = time.perf_counter()
        for block in blocks:
            target.extend(block)
        return time.perf_counter() - started_s

    def insert_cold(size: int, rows: int) -> float:
        """The first batches of a new actor."""
        fresh = make_buffer()
        len(fresh)  # the actor runs
        took_s = insert(size, rows, fresh)
        fresh.shutdown()
        return took_s

    serve(
        {"sample": sample}
        | {f"insert{size}": partial(insert, size) for size in (64, 2048)}
        | {f"cold{size}": partial(insert_cold, size) for size in (64, 2048)}
    )
    buffer.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
