"""How many rows of a draw come from which shard, and with which probability each row was drawn.

A row's probability is that of its shard times that within the shard at the moment of its draw. The first
may follow from sums that are a little old: it is the one that was used, so importance weights stay unbiased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

FLOOR = 1 / 256
"""The share, of an even share, that a shard is drawn with at least: its sum may have grown unheard of."""


@dataclass(frozen=True, slots=True)
class Mass:
    """By what the rows of a shard are drawn: sum, count, and the smallest positive one (infinity: none)."""

    total: float
    rows: int
    smallest: float

    @property
    def least(self) -> float:
        """The smallest probability of a row within the shard; infinity where no row can be drawn."""
        return self.smallest / self.total if self.total > 0 else np.inf


def shares_of(masses: Mapping[int, Mass]) -> dict[int, float]:
    """The probability of each shard: its part of all sums, and at least the floor."""
    if not masses:
        return {}
    totals = np.array([max(0.0, mass.total) for mass in masses.values()])
    # Sums can be as large as 1e290 each: divide before adding.
    largest = totals.max()
    if largest > 0:
        totals = totals / largest
        totals /= totals.sum()
    floored = np.maximum(totals, FLOOR / len(totals))
    floored /= floored.sum()
    return dict(zip(masses, floored.tolist(), strict=True))


def without(shares: Mapping[int, float], gone: Iterable[int]) -> dict[int, float]:
    """The shares where a draw that falls on a shard without rows, or without an answer, is drawn again."""
    gone = set(gone)
    kept = {shard: share for shard, share in shares.items() if shard not in gone}
    total = sum(kept.values())
    return {shard: share / total for shard, share in kept.items()} if total > 0 else {}


def split_counts(
    shares: Mapping[int, float], sizes: NDArray[np.int64], rng: np.random.Generator
) -> dict[int, Counts]:
    """For each shard, how many rows of each batch it gives: one multinomial draw a batch."""
    counts = rng.multinomial(sizes, list(shares.values())).reshape(len(sizes), len(shares))
    return {shard: counts[:, i] for i, shard in enumerate(shares)}


def positions(counts: Sequence[Counts]) -> list[NDArray[np.int64]]:
    """Where the rows of each piece, taken in order, belong in the batches laid out one after the other.

    ``counts[i][j]`` rows of piece i go to batch j.
    """
    table = np.stack(list(counts), axis=1)
    starts = np.concatenate([[0], np.cumsum(table.reshape(-1))[:-1]]).reshape(table.shape)
    places = []
    for i in range(len(counts)):
        count = table[:, i]
        before = np.cumsum(count) - count
        places.append(np.repeat(starts[:, i] - before, count) + np.arange(count.sum()))
    return places


def smallest_probability(shares: Mapping[int, float], masses: Mapping[int, Mass]) -> float:
    """The probability of the least likely row of all: its weight is the largest that there is."""
    return min((share * masses[shard].least for shard, share in shares.items()), default=np.inf)
