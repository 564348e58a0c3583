"""Runs of a Memoria network that can be repeated by any implementation of it.

This file is also the program that drives the public reference, in an environment where `memoria` is that
one: it imports nothing but torch, NumPy and `memoria`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Run:
    """Settings of a network, and of the data and lifespans that it is fed with."""

    seed: int
    num_reminded_stm: int
    stm_capacity: int
    ltm_search_depth: int
    initial_lifespan: int
    num_final_ltms: int
    working: int
    hidden: int
    most_delta: float
    steps: int

    @classmethod
    def random(cls, seed: int, steps: int) -> Run:
        rng = np.random.default_rng([20, seed])
        return cls(
            seed=seed,
            num_reminded_stm=int(rng.integers(1, 9)),
            stm_capacity=int(rng.integers(1, 41)),
            ltm_search_depth=int(rng.integers(1, 8)),
            initial_lifespan=int(rng.integers(2, 31)),
            num_final_ltms=int(rng.integers(1, 9)),
            working=int(rng.integers(1, 9)),
            hidden=int(rng.integers(4, 65)),
            most_delta=float(rng.uniform(1, 8)),
            steps=steps,
        )

    def network_arguments(self) -> dict[str, int]:
        names = ("num_reminded_stm", "stm_capacity", "ltm_search_depth", "initial_lifespan", "num_final_ltms")
        return {name: getattr(self, name) for name in names}

    def data(self, rows: int = 1) -> torch.Tensor:
        """[steps, rows, W, D]; row b is the same whatever the number of rows."""
        parts = [
            np.random.default_rng([self.seed, row]).random((self.steps, 1, self.working, self.hidden))
            for row in range(rows)
        ]
        return torch.from_numpy(np.concatenate(parts, axis=1)).float()

    def deltas(self, ids: np.ndarray, step: int, row: int = 0) -> torch.Tensor:
        """What engrams gain in a step: depends on who and when, not on how many others there are.

        Whole numbers, most of them 0, so that engrams die at different times.
        """
        mixed = (ids.astype(np.int64) + 1) * 2654435761 + (step + 1) * 40503 + (self.seed * 7 + row) * 69069
        share = (mixed * 1103515245 % 2147483648) / 2147483648
        return torch.from_numpy(np.floor(share**2 * (self.most_delta + 1))).float()


def played(network: Any, run: Run) -> list[dict[str, Any]]:
    """Plays a run with one row; tells after each step what can be compared."""
    trace = []
    for step, data in enumerate(run.data()):
        network.add_working_memory(data)
        memories, indices = network.remind()
        reminded = sorted(set(indices[0].tolist()))
        network.adjust_lifespan_and_memories(indices.clone(), run.deltas(indices.numpy(), step))
        engrams = network.engrams
        counts = engrams.induce_counts.contiguous().numpy()
        trace.append(
            {
                "reminded": reminded,
                "memory_sum": round(float(memories.double().sum() / run.hidden), 3),
                "types": "".join(map(str, engrams.engrams_types[0].tolist())),
                "lifespan": engrams.lifespan[0].tolist(),
                "counts": hashlib.sha256(counts.tobytes()).hexdigest()[:16],
                "fired_pairs": int((counts > 0).sum()),
            }
        )
    return trace


def main() -> None:
    """Plays the runs that standard input lists as JSON with the `memoria` of this environment."""
    import memoria

    torch.set_num_threads(1)
    torch.rand_like = torch.ones_like  # type: ignore[assignment]  # ties: the first
    for line in sys.stdin:
        run = Run(**json.loads(line))
        network = memoria.Memoria(**run.network_arguments())
        print(json.dumps({"run": dataclasses.asdict(run), "trace": played(network, run)}), flush=True)


if __name__ == "__main__":
    main()
