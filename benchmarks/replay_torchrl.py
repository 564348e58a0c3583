"""TorchRL's in-process buffers on the rows of `benchmarks.replay_local`.

Run by it with the interpreter of TorchRL's environment.
Prints one JSON object: microseconds for a prioritized sample, a priority update, a uniform sample and an
insert of 64 rows, with 100,000 rows and batches of 256. Needs torch, tensordict and torchrl only.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer, TensorDictReplayBuffer

ROWS, BATCH, CALLS, ROUNDS = 100_000, 256, 50, 7


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


def microseconds(call: Callable[[int], Any]) -> float:
    times = []
    for round_number in range(ROUNDS + 1):
        started = time.perf_counter()
        for i in range(CALLS):
            call(i)
        if round_number > 0:  # the first round warms up
            times.append((time.perf_counter() - started) / CALLS * 1e6)
    return statistics.median(times)


def main() -> None:
    result: dict[str, float | str] = {}
    storage = LazyTensorStorage(ROWS)
    uniform = TensorDictReplayBuffer(storage=storage, batch_size=BATCH)
    for _ in range(10):
        uniform.extend(make_rows(ROWS // 10))
    result["uniform sample"] = microseconds(lambda i: uniform.sample())
    blocks = [make_rows(64) for _ in range(CALLS)]
    result["add 64 rows, uniform"] = microseconds(lambda i: uniform.extend(blocks[i]))
    try:
        prioritized = TensorDictPrioritizedReplayBuffer(
            alpha=0.6, beta=0.4, storage=LazyTensorStorage(ROWS), batch_size=BATCH, priority_key="td"
        )
        for _ in range(10):
            prioritized.extend(make_rows(ROWS // 10))
        result["prioritized sample"] = microseconds(lambda i: prioritized.sample())
        picked = torch.randint(0, ROWS, (CALLS, BATCH))
        fresh = torch.rand(CALLS, BATCH) + 0.01
        result["priority update"] = microseconds(lambda i: prioritized.update_priority(picked[i], fresh[i]))
        result["add 64 rows, prioritized"] = microseconds(lambda i: prioritized.extend(blocks[i]))
    except Exception as error:  # noqa: BLE001 - its compiled sampler does not load with every torch
        result["prioritized"] = f"not measured: {type(error).__name__}: {error}"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
