"""`Block`: one draw over all shards, several batches at once, from the requests to the finished rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from ...errors import MemoriesError
from ...replay.batch import Batch
from .core import draws
from .core import events as ev
from .core.draws import Counts, Mass
from .routing import Router, result_of
from .shard_actor import ShardSample

Piece = tuple[int, Counts, ShardSample]
"""A shard, how many of its rows each batch takes, and the rows."""


class Block:
    """Asked for when it is made, complete when `finish` returns. Not thread-safe.

    A shard that has no rows, or does not answer, is left out: what fell on it is drawn again from the
    others, and every probability is corrected for that. So a block is always whole, or there is none.
    """

    def __init__(
        self,
        router: Router,
        masses: dict[int, Mass],
        batches: int,
        batch_size: int,
        rng: np.random.Generator,
        next_seed: Callable[[], int | None],
        timeout_s: float,
    ) -> None:
        self._router, self._rng, self._next_seed = router, rng, next_seed
        self._masses = dict(masses)
        self._timeout_s = timeout_s
        self.lease: int | None = None
        self._shares = draws.shares_of(masses)
        self._sizes = np.full(batches, batch_size, dtype=np.int64)
        self._batch_size = batch_size
        self._asked: list[tuple[int, Counts, ray.ObjectRef[Any] | None]] = []
        self.out: set[int] = set()
        self.heard: dict[int, Mass] = {}
        self._ask(self._shares, self._sizes)

    @property
    def batches(self) -> int:
        return len(self._sizes)

    @property
    def refs(self) -> list[ray.ObjectRef[Any]]:
        return [ref for _, _, ref in self._asked if ref is not None]

    def _ask(self, shares: dict[int, float], sizes: NDArray[np.int64]) -> None:
        for shard, counts in draws.split_counts(shares, sizes, self._rng).items():
            if not counts.any():
                continue
            actor = self._router.primary(shard)
            ref = None if actor is None else actor.sample.remote(int(counts.sum()), self._next_seed())
            self._asked.append((shard, counts, ref))

    def finish(self, beta: float) -> Batch | None:
        """All rows, batch after batch; None where no shard can give any."""
        pieces: list[Piece] = []
        ends_s = time.monotonic() + self._timeout_s
        while self._asked:
            asked, self._asked = self._asked, []
            missing = np.zeros_like(self._sizes)
            for shard, counts, ref in asked:
                sample = self._take_in(shard, ref, ends_s)
                if sample is None:
                    missing += counts
                else:
                    pieces.append((shard, counts, sample))
            # What a shard gave before it was left out stays out as well: its share is another's now.
            for _, counts, _ in [piece for piece in pieces if piece[0] in self.out]:
                missing += counts
            pieces = [piece for piece in pieces if piece[0] not in self.out]
            if missing.any():
                kept = draws.without(self._shares, self.out)
                if not kept:
                    return None
                self._ask(kept, missing)
        return self._assemble(pieces, beta)

    def _take_in(self, shard: int, ref: ray.ObjectRef[Any] | None, ends_s: float) -> ShardSample | None:
        answer = None
        if ref is not None:
            try:
                answer = result_of(ref, max(0.001, ends_s - time.monotonic()))
            except MemoriesError:
                self.out.add(shard)
                raise
        if isinstance(answer, ShardSample):
            self.heard[shard] = self._masses[shard] = answer.mass
            return answer
        if isinstance(answer, Mass):
            self.heard[shard] = answer
        elif isinstance(answer, ev.NotPrimary):
            self._router.learn_view(answer)
        self.out.add(shard)
        return None

    def _assemble(self, pieces: list[Piece], beta: float) -> Batch:
        shares = draws.without(self._shares, self.out)
        smallest = draws.smallest_probability(shares, self._masses)
        population = sum(self._masses[shard].rows for shard in shares)
        probabilities = [self._probabilities(shares[shard], sample) for shard, _, sample in pieces]
        if len(pieces) == 1:
            sample = pieces[0][2]
            columns, handles, drawn = dict(sample.columns), sample.handles, probabilities[0]
        else:
            places = draws.positions([counts for _, counts, _ in pieces])
            samples = [sample for _, _, sample in pieces]
            columns = {
                name: _merged([s.columns[name] for s in samples], places) for name in samples[0].columns
            }
            handles = _merged([s.handles for s in samples], places)
            drawn = _merged(probabilities, places)
        # A sum that is a little old may promise too much: no weight is above 1.
        smallest = min(smallest, float(drawn.min()))
        weights = ((smallest / drawn) ** beta).astype(np.float32)
        return Batch(columns, handles, probabilities=drawn, weights=weights, population=population)

    def _probabilities(self, share: float, sample: ShardSample) -> NDArray[np.float64]:
        if sample.probabilities is None:
            return np.full(len(sample.handles), share / sample.mass.rows)
        return share * sample.probabilities


def _merged(parts: list[NDArray[Any]], places: list[NDArray[np.int64]]) -> NDArray[Any]:
    rows = sum(len(part) for part in parts)
    merged = np.empty((rows, *parts[0].shape[1:]), parts[0].dtype)
    for part, place in zip(parts, places, strict=True):
        merged[place] = part
    return merged
