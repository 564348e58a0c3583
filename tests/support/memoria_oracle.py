"""The algorithm of one row, written down as plainly as possible: dense counts, loops, ties to the oldest.

Slow and obvious on purpose; what the network does is held against it. Shares no code with it.
"""

from __future__ import annotations

import numpy as np


class OracleMemoria:
    """One row of engrams as parallel lists, oldest first."""

    def __init__(
        self,
        num_reminded_stm: int,
        stm_capacity: int,
        ltm_search_depth: int,
        initial_lifespan: float,
        num_final_ltms: int,
        mode: str,
    ) -> None:
        self.num_reminded_stm = num_reminded_stm
        self.stm_capacity = stm_capacity
        self.ltm_search_depth = ltm_search_depth
        self.initial_lifespan = initial_lifespan
        self.num_final_ltms = num_final_ltms
        self.mode = mode
        self.vectors: list[np.ndarray] = []
        self.types: list[int] = []
        self.lifespans: list[float] = []
        self.counts = np.zeros((0, 0), dtype=np.int32)

    def add(self, data: np.ndarray) -> None:
        self.vectors += list(data.astype(np.float64))
        self.types += [1] * len(data)
        self.lifespans += [self.initial_lifespan] * len(data)
        self.counts = np.pad(self.counts, (0, len(data)))

    def of_type(self, kind: int) -> list[int]:
        return [i for i, t in enumerate(self.types) if t == kind]

    def weight(self, vector: np.ndarray) -> float:
        return -sum(float(((self.vectors[w] - vector) ** 2).sum()) for w in self.of_type(1))

    def strongest(self, source: int, among: list[int]) -> int:
        return max(among, key=lambda target: (self.counts[source, target], -target))

    def remind(self) -> set[int]:
        shortterm, longterm = self.of_type(2), self.of_type(3)
        ranked = sorted(shortterm, key=lambda i: (-self.weight(self.vectors[i]), i))
        kept, left = ranked[: self.num_reminded_stm], ranked[self.num_reminded_stm :]

        candidates: list[int] = []
        if longterm:
            found = {self.strongest(source, longterm) for source in kept}
            if self.mode == "reference":
                newest = len(self.types) - 1
                found |= {self.strongest(newest, longterm) for _ in left}
            frontier = set(found)
            exhausted = False
            for _ in range(self.ltm_search_depth):
                free = [i for i in longterm if i not in found]
                if not free and frontier:
                    exhausted = True
                frontier = {self.strongest(source, free) for source in frontier} if free else set()
                found |= frontier
            candidates = sorted(found)
            if exhausted and self.mode == "reference":
                candidates.append(-1)
        elif shortterm and self.mode == "reference":
            candidates = [0]
        null = np.zeros_like(self.vectors[0])
        final = sorted(candidates, key=lambda i: -self.weight(null if i < 0 else self.vectors[i]))
        final = final[: self.num_final_ltms]

        reminded = set(kept) | set(final) | ({-1} if left else set())
        fired = sorted((reminded - {-1}) | set(self.of_type(1)))
        self.counts[np.ix_(fired, fired)] += 1
        return reminded

    def adjust(self, deltas: dict[int, float]) -> None:
        for index, delta in deltas.items():
            self.lifespans[index] += delta
        self.lifespans = [lifespan - 1 for lifespan in self.lifespans]
        self.types = [2 if t == 1 else t for t in self.types]
        for index in self.of_type(2)[: -self.stm_capacity]:
            self.types[index] = 3
        stays = [i for i, lifespan in enumerate(self.lifespans) if lifespan > 0]
        self.vectors = [self.vectors[i] for i in stays]
        self.types = [self.types[i] for i in stays]
        self.lifespans = [self.lifespans[i] for i in stays]
        self.counts = self.counts[np.ix_(stays, stays)]
