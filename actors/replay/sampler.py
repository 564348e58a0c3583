"""`ReplaySampler`: batches from all shards, drawn ahead of the learner."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray

from ...errors import Closed, DeadlineExceeded, InvalidValue, RateLimited
from ...replay.batch import Batch
from ...replay.schedules import Schedule, value_at
from ..calls import FIRST_BACKOFF_S, MAX_BACKOFF_S
from .block_pace import BlockPace
from .blocks import Block
from .core.credits import Action
from .core.draws import Mass
from .credits import holder_of, most_rows_a_lease
from .routing import Router, result_of
from .spec import ReplaySpec

FIRST_BATCHES_A_CALL = 16
MAX_BATCHES_A_CALL = 64
PREFETCH_BYTES = 64 << 20
ANSWER_TIMEOUT_S = 5.0
"""A shard that has not answered for so long is left out of the block that waits for it."""
LOOK_AGAIN_S = 0.5
"""How often the sums of all shards are asked for, beside what comes with every block."""


class ReplaySampler:
    """An endless iterator of batches, drawn over all shards as if they were one buffer.

    A batch has ``weights`` (importance weights ``(N * P)**-beta`` over the largest of the whole buffer),
    ``probabilities`` (those that the rows were drawn with) and ``handles`` for `Replay.update_priorities`.
    Its arrays are views that several batches share: do not write to them.

    Blocks of `batches_a_call` batches are asked for `prefetch` ahead, and never more than `prefetch_bytes`
    of rows. So priorities that a learner sets show up in its draws after at most so many batches:
    with ``prefetch=1, batches_a_call=1`` after one. With None the blocks follow the learner's pace: larger
    where it waits for rows, down to single batches where it does not, so that a slow learner sees fresh
    priorities and a quick one is not held up. `seed` fixes the draws, given equal shards; blocks then have
    16 batches unless a number is given. `device`: hand out torch tensors there. Nothing runs in the
    background. Not thread-safe.
    """

    def __init__(
        self,
        router: Router,
        spec: ReplaySpec,
        batch_size: int,
        *,
        beta: float | Schedule | None = None,
        prefetch: int = 2,
        device: Any = None,
        seed: int | None = None,
        batches_a_call: int | None = None,
        prefetch_bytes: int = PREFETCH_BYTES,
        timeout_s: float = 60.0,
    ) -> None:
        for name, value in (
            ("batch_size", batch_size),
            ("prefetch", prefetch),
            ("batches_a_call", FIRST_BATCHES_A_CALL if batches_a_call is None else batches_a_call),
            ("prefetch_bytes", prefetch_bytes),
        ):
            if not isinstance(value, int) or value < 1:
                raise InvalidValue(f"{name} is {value!r}, must be a positive integer.")
        self._router, self._spec = router, spec
        self.batch_size = batch_size
        self._beta = spec.beta if beta is None else beta
        value_at(self._beta, 0, "beta")
        self._device = device
        self._timeout_s = timeout_s
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._calls = 0
        self._batch_bytes = batch_bytes = max(1, batch_size * (spec.schema.row_nbytes + 16))
        # The block that is being handed out counts as well.
        affordable = max(1, prefetch_bytes // (batch_bytes * (prefetch + 1)))
        leased_rows = most_rows_a_lease(spec, Action.SAMPLE, batch_size)
        if leased_rows is not None:
            affordable = min(affordable, leased_rows // batch_size)
        wanted = FIRST_BATCHES_A_CALL if batches_a_call is None else batches_a_call
        follows = batches_a_call is None and seed is None
        self._pace = BlockPace(min(wanted, affordable), min(MAX_BATCHES_A_CALL, affordable), follows)
        self._prefetch = max(1, min(prefetch, prefetch_bytes // batch_bytes - 1))
        self._credits = holder_of(router, spec, Action.SAMPLE)
        self._blocks: deque[Block] = deque()
        self._ready: deque[Batch] = deque()
        self._masses: dict[int, Mass] = {}
        self._looking: dict[ray.ObjectRef[Any], int] = {}
        self._looked_s = float("-inf")
        self.handed_out = 0
        self.left_out = 0
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch; waits for rows, and raises `DeadlineExceeded` where none come."""
        if self._closed:
            raise Closed("this sampler is closed; make another one")
        if not self._ready:
            self._ready.extend(self._next_block().split(self.batch_size))
        self._fill()
        self.handed_out += 1
        batch = self._ready.popleft()
        return batch if self._device is None else batch.to_torch(self._device)

    @property
    def bytes_ahead(self) -> int:
        """Bytes of rows that are drawn or being drawn and were not handed out."""
        batches = sum(block.batches for block in self._blocks) + len(self._ready)
        return batches * self._batch_bytes

    @property
    def batches_a_call(self) -> int:
        """How many batches the next block will have."""
        return self._pace.batches

    def close(self) -> None:
        """Forget what was drawn ahead. Twice is fine."""
        self._closed = True
        self._blocks.clear()
        self._ready.clear()
        self._looking.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_block(self) -> Batch:
        ends_s = time.monotonic() + self._timeout_s
        backoff_s = FIRST_BACKOFF_S
        while True:
            self._look()
            self._fill()
            if self._blocks:
                block = self._blocks.popleft()
                self._pace.begin_waiting()
                drawn = block.finish(float(value_at(self._beta, self.handed_out, "beta")))
                self._pace.end_waiting()
                if self._credits is not None and block.lease is not None:
                    self._credits.done(block.lease)
                self._learn(block)
                if drawn is not None:
                    return drawn
            if time.monotonic() > ends_s:
                if self._credits is not None and any(mass.rows for mass in self._masses.values()):
                    raise RateLimited(
                        f"{self._spec.rate_limiter} held back this sampler of replay buffer "
                        f"{self._spec.name!r} for {self._timeout_s:g} s: insert more rows, or sample less"
                    )
                raise DeadlineExceeded(
                    f"replay buffer {self._spec.name!r} gave no rows within {self._timeout_s:g} s: it is "
                    "empty, all priorities are 0, or no shard answers. Replay.stats() shows which"
                )
            if self._credits is not None and len(self._credits):
                self._credits.poll(backoff_s)
            else:
                time.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S / 4)
            self._looked_s = float("-inf")

    def _fill(self) -> None:
        """Ask for blocks, as many as may be under way."""
        while len(self._blocks) < self._prefetch and any(mass.rows for mass in self._masses.values()):
            batches, lease = self._pace.batches, None
            if self._credits is not None:
                while len(self._credits) + len(self._blocks) < self._prefetch:
                    self._credits.ask(batches * self.batch_size)
                self._credits.poll(0)
                taken = self._credits.take()
                if taken is None:
                    return
                lease, batches = taken[0], taken[1] // self.batch_size
            block = Block(
                self._router,
                self._masses,
                batches,
                self.batch_size,
                self._rng,
                self._next_seed,
                ANSWER_TIMEOUT_S,
            )
            block.lease = lease
            self._blocks.append(block)

    def _next_seed(self) -> int | None:
        if self._seed is None:
            return None
        self._calls += 1
        return int(np.random.SeedSequence([self._seed, self._calls]).generate_state(1)[0])

    def _learn(self, block: Block) -> None:
        self._masses.update(block.heard)
        if block.out:
            self.left_out += len(block.out)
            for shard in block.out:
                if shard not in block.heard:
                    self._masses.pop(shard, None)  # until it says again how much it has
            found = result_of(self._router.request_layout(suspicious=True), ANSWER_TIMEOUT_S)
            if found is not None:
                self._router.learn(found)
            self._looked_s = min(self._looked_s, time.monotonic() - LOOK_AGAIN_S + 0.05)

    def _look(self) -> None:
        """Hear how much all shards have, new ones as well; waits only where nothing is known."""
        now_s = time.monotonic()
        if now_s - self._looked_s > LOOK_AGAIN_S:
            self._looked_s = now_s
            layout = self._router.layout()
            self._looking = {}
            for view in layout.shards:
                actor = self._router.primary(view.shard)
                if actor is not None:
                    self._looking[actor.mass.remote()] = view.shard
            self._looking[self._router.request_layout(suspicious=False)] = -1
            for shard in set(self._masses) - {view.shard for view in layout.shards}:
                del self._masses[shard]
        if not self._looking:
            return
        wait_s = 0.0 if any(mass.rows for mass in self._masses.values()) else ANSWER_TIMEOUT_S
        refs = list(self._looking)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=wait_s)
        for ref in ready:
            shard = self._looking.pop(ref)
            answer = result_of(ref, ANSWER_TIMEOUT_S)
            if shard < 0 and answer is not None:
                self._router.learn(answer)
            elif isinstance(answer, Mass):
                self._masses[shard] = answer
