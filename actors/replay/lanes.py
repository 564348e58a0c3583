"""`Lanes`: numbered batches of one writer on their way to the shards, kept until they are acknowledged."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from ...errors import DeadlineExceeded
from ...replay.packed_batch import PackedBatch
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S, MAX_BACKOFF_S
from .core import events as ev
from .routing import Router, result_of

GLANCE_PAUSE_S = 0.002


@dataclass(slots=True)
class Sent:
    """One numbered batch without an answer so far."""

    number: int
    columns: Mapping[str, NDArray[Any]] | PackedBatch
    priorities: NDArray[np.float64] | None
    rows: int
    acknowledged: Callable[[], None] | None = None
    ref: ray.ObjectRef[Any] | None = None
    sent_s: float = 0.0
    due_s: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    held_back: bool = False


@dataclass(slots=True)
class Lane:
    """What was numbered for one logical shard. A batch is always sent again with its number, to its shard."""

    logical: int
    next_number: int = 1
    sent: dict[int, Sent] = field(default_factory=dict)

    @property
    def floor(self) -> int:
        return min(self.sent, default=self.next_number)


class Lanes:
    """Not thread-safe: it belongs to one writer. Nothing runs in the background: `poll` does the work."""

    def __init__(self, router: Router) -> None:
        self.writer = uuid.uuid4().hex
        self._router = router
        self._lanes: dict[int, Lane] = {}
        self._turn = random.randrange(1 << 20)  # writers do not all begin with the same shard
        self.in_flight = 0
        self.rows_in_flight = 0
        self.repeated = 0
        self._polled_s = float("-inf")
        self.error: Exception | None = None

    def send(
        self,
        columns: Mapping[str, NDArray[Any]] | PackedBatch,
        priorities: NDArray[np.float64] | None,
        rows: int,
        *,
        shard: int | None = None,
        acknowledged: Callable[[], None] | None = None,
    ) -> None:
        """Number a batch for this shard (default: the one whose turn it is), and send it.

        Its arrays must stay as they are until `acknowledged` is called.
        """
        shards = self._router.layout().open_shards
        self._turn += 1
        logical = self._next_shard(shards) if shard is None else shard
        lane = self._lanes.setdefault(logical, Lane(logical))
        sent = Sent(lane.next_number, columns, priorities, rows, acknowledged)
        lane.sent[sent.number] = sent
        lane.next_number += 1
        self.in_flight += 1
        self.rows_in_flight += rows
        self._dispatch(lane, sent)

    def _next_shard(self, shards: Sequence[int]) -> int:
        """In turn, but past a shard that has batches waiting for a repetition while another has none."""
        for step in range(len(shards)):
            shard = shards[(self._turn + step) % len(shards)]
            lane = self._lanes.get(shard)
            if lane is None or not any(s.ref is None for s in lane.sent.values()):
                return shard
        return shards[self._turn % len(shards)]

    @property
    def held_back(self) -> bool:
        """Whether a batch waits for room in its shard."""
        return any(sent.held_back for _, sent in self._all())

    def glance(self) -> None:
        """`poll` without waiting, but not at every call: asking Ray takes longer than taking a batch."""
        if time.monotonic() - self._polled_s >= GLANCE_PAUSE_S:
            self.poll(0)

    def poll(self, timeout_s: float) -> None:
        """Take in answers, for which it waits up to `timeout_s`, and repeat what is due."""
        self._polled_s = time.monotonic()
        waiting = {sent.ref: (lane, sent) for lane, sent in self._all() if sent.ref is not None}
        if waiting:
            ready, _ = ray.wait(
                list(waiting), num_returns=len(waiting) if timeout_s == 0 else 1, timeout=timeout_s
            )
            for ref in ready:
                self._take_in(*waiting[ref], result_of(ref, ATTEMPT_S))
        elif self.in_flight and timeout_s:
            time.sleep(min(timeout_s, FIRST_BACKOFF_S))
        self._repeat_due()

    def drain(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged."""
        ends_s = time.monotonic() + timeout_s
        while self.in_flight and self.error is None:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise DeadlineExceeded(
                    f"{self.rows_in_flight} rows in {self.in_flight} batches were not acknowledged within "
                    f"{timeout_s:g} s. They are kept; flush() again, or look at Cluster.status()"
                )
            self.poll(min(left_s, 0.1))

    def _take_in(self, lane: Lane, sent: Sent, answer: Any) -> None:
        if isinstance(answer, ev.Done):
            del lane.sent[sent.number]
            self.in_flight -= 1
            self.rows_in_flight -= sent.rows
            self.error = self.error or answer.error
            if sent.acknowledged is not None:
                sent.acknowledged()
            return
        sent.held_back = isinstance(answer, ev.Full)
        if isinstance(answer, ev.NotPrimary):
            self._router.learn_view(answer)
        sent.ref = None
        sent.due_s = time.monotonic() + sent.backoff_s
        sent.backoff_s = min(2 * sent.backoff_s, MAX_BACKOFF_S)

    def _repeat_due(self) -> None:
        now_s = time.monotonic()
        due = [
            (lane, sent)
            for lane, sent in self._all()
            if (sent.due_s <= now_s if sent.ref is None else now_s - sent.sent_s > ATTEMPT_S)
        ]
        if not due:
            return
        if not all(sent.held_back and sent.ref is None for _, sent in due):
            layout = self._router.request_layout(suspicious=True)
            found = result_of(layout, ATTEMPT_S)
            if found is not None:
                self._router.learn(found)
        for lane, sent in due:
            self.repeated += not sent.held_back
            self._dispatch(lane, sent)

    def _dispatch(self, lane: Lane, sent: Sent) -> None:
        home = self._router.layout().home_of(lane.logical)
        actor = self._router.primary(home)
        if actor is None:
            sent.ref = None
            sent.due_s = time.monotonic() + sent.backoff_s
            sent.backoff_s = min(2 * sent.backoff_s, MAX_BACKOFF_S)
            return
        sent.sent_s = time.monotonic()
        sent.ref = actor.insert.remote(
            self.writer, lane.logical, sent.number, lane.floor, sent.columns, sent.priorities
        )

    def _all(self) -> list[tuple[Lane, Sent]]:
        return [(lane, sent) for lane in self._lanes.values() for sent in lane.sent.values()]
