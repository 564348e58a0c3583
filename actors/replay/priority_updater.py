"""`PriorityUpdater`: priorities on their way to the shards, several updates in flight, all acknowledged."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray
from numpy.typing import NDArray

from ...errors import Closed, DeadlineExceeded
from ...replay.buffer import UpdateResult
from ...replay.handles import as_handles, shard_of
from ...replay.priorities import check_priorities
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S, MAX_BACKOFF_S
from .core import events as ev
from .routing import Router, result_of

FLUSH_TIMEOUT_S = 60.0
MAX_IN_FLIGHT = 2
"""Calls to one shard in the air; what comes meanwhile is joined into the next."""
POLL_PAUSE_S = 0.001
"""Asking Ray for answers takes longer than taking an update: not at every call."""
FRESH_ROWS = 4096
"""Handles that are collected before they are looked at: one look for many updates."""
MAX_CALL_ROWS = 6_000
"""Handles, and priorities, of one call: below the size at which Ray sends them through the object store."""
MAX_WAITING = 1 << 16
"""Handles that wait for one shard; beyond them `update` waits for an acknowledgement."""


@dataclass(slots=True)
class Update:
    """Handles and priorities of one call, in the order in which they were given."""

    handles: NDArray[np.int64]
    priorities: NDArray[np.float64]
    ref: ray.ObjectRef[Any]
    sent_s: float


@dataclass(slots=True)
class ShardQueue:
    """What goes to one shard. Calls of one process reach an actor in order, so the last priority stands."""

    waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    rows_waiting: int = 0
    sent: list[Update] = field(default_factory=list)
    due_s: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S


class PriorityUpdater:
    """`update` returns at once; `flush` (and leaving the ``with`` block) waits until all are acknowledged.

        with replay.priority_updater() as updater:
            for batch in sampler:
                updater.update(batch.handles, learn(batch))

    A shard that does not answer gets its updates again, in their order, until `flush` gives up: setting the
    same priorities twice changes nothing. Handles of rows that are gone count as stale. Nothing runs in the
    background. Not thread-safe.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._queues: dict[int, ShardQueue] = {}
        self._fresh_handles = np.empty(FRESH_ROWS, np.int64)
        self._fresh_priorities = np.empty(FRESH_ROWS)
        self._fresh = 0
        self._applied = self._given = 0
        self._error: Exception | None = None
        self._polled_s = float("-inf")
        self._closed = False

    def update(self, handles: Any, priorities: Any) -> None:
        """Set the priorities of these rows. Raises what a shard refused of an earlier update."""
        if self._closed:
            raise Closed("this updater is closed; make another one")
        self._raise_error()
        named = as_handles(handles)
        given = check_priorities(priorities, named.size)
        self._given += named.size
        until = self._fresh + named.size
        if until > FRESH_ROWS:
            self._sort()
            until = named.size
        if until > FRESH_ROWS:
            self._queue(named.copy(), given.copy())
        else:
            self._fresh_handles[self._fresh : until] = named
            self._fresh_priorities[self._fresh : until] = given
            self._fresh = until
        now_s = time.monotonic()
        if now_s - self._polled_s >= POLL_PAUSE_S:
            self._poll(0)
        ends_s = now_s + FLUSH_TIMEOUT_S
        while any(queue.rows_waiting > MAX_WAITING for queue in self._queues.values()):
            self._wait(ends_s, FLUSH_TIMEOUT_S)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> UpdateResult:
        """Wait until every update is acknowledged; what they came to since the last `flush`.

        Raises `DeadlineExceeded` where a shard does not answer: the updates stay, and `flush` may be
        called again.
        """
        ends_s = time.monotonic() + timeout_s
        self._sort()
        while any(queue.waiting or queue.sent for queue in self._queues.values()):
            self._wait(ends_s, timeout_s)
            self._raise_error()
        self._raise_error()
        result = UpdateResult(self._applied, self._given - self._applied)
        self._applied = self._given = 0
        return result

    def close(self) -> None:
        """`flush`, once."""
        if not self._closed:
            self.flush()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- parts ----------------------------------------------------------------------------------------

    def _sort(self) -> None:
        """Give what was collected to the queues of its shards."""
        if self._fresh:
            handles, priorities = self._fresh_handles[: self._fresh], self._fresh_priorities[: self._fresh]
            self._fresh = 0
            self._queue(handles.copy(), priorities.copy())

    def _queue(self, handles: NDArray[np.int64], priorities: NDArray[np.float64]) -> None:
        shards = shard_of(handles)
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            queue = self._queues.setdefault(shard, ShardQueue())
            queue.waiting.append((handles[mine], priorities[mine]))
            queue.rows_waiting += len(queue.waiting[-1][0])

    def _wait(self, ends_s: float, timeout_s: float) -> None:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise DeadlineExceeded(
                f"priority updates were not acknowledged within {timeout_s:g} s. They are kept: flush() "
                "again, or look at Cluster.status()"
            )
        self._poll(min(left_s, 0.1))

    def _poll(self, timeout_s: float) -> None:
        """Take in answers, for which it waits up to `timeout_s`, and send what may go out."""
        self._polled_s = time.monotonic()
        self._sort()
        self._send()
        refs = {update.ref: queue for queue in self._queues.values() for update in queue.sent}
        if refs:
            if timeout_s:
                ray.wait(list(refs), num_returns=1, timeout=timeout_s)
            ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
            answered = set(ready)
            for shard, queue in self._queues.items():
                self._take_in(shard, queue, answered)
        elif timeout_s and any(queue.waiting for queue in self._queues.values()):
            time.sleep(min(timeout_s, FIRST_BACKOFF_S))
        self._send()

    def _take_in(self, shard: int, queue: ShardQueue, answered: set[ray.ObjectRef[Any]]) -> None:
        """Answers in the order of the calls. After a call that failed, all behind it go out again with it."""
        now_s = time.monotonic()
        while queue.sent:
            update = queue.sent[0]
            if update.ref in answered:
                answer = result_of(update.ref, ATTEMPT_S)
            elif now_s - update.sent_s > ATTEMPT_S:
                answer = None
            else:
                return
            if isinstance(answer, ev.Done):
                queue.sent.pop(0)
                queue.backoff_s = FIRST_BACKOFF_S
                if answer.error is not None:
                    self._error = self._error or answer.error
                else:
                    self._applied += answer.result.applied
                continue
            if isinstance(answer, ev.NotPrimary):
                self._router.learn_view(answer)
            self._router.refresh()
            again = [(u.handles, u.priorities) for u in queue.sent]
            queue.waiting = again + queue.waiting
            queue.rows_waiting = sum(handles.size for handles, _ in queue.waiting)
            queue.sent.clear()
            queue.due_s = now_s + queue.backoff_s
            queue.backoff_s = min(2 * queue.backoff_s, MAX_BACKOFF_S)
            if self._router.layout().view(shard) is None:  # the shard is gone with its rows: stale
                queue.waiting.clear()
                queue.rows_waiting = 0

    def _send(self) -> None:
        for shard, queue in self._queues.items():
            while queue.waiting and len(queue.sent) < MAX_IN_FLIGHT:
                if not self._send_one(shard, queue):
                    break

    def _send_one(self, shard: int, queue: ShardQueue) -> bool:
        """One call with what waits for the shard, if it may go out now."""
        if queue.due_s and time.monotonic() < queue.due_s:
            return False
        actor = self._router.primary(shard)
        if actor is None:
            self._look_again(shard, queue)
            return False
        handles = np.concatenate([handles for handles, _ in queue.waiting])
        priorities = np.concatenate([priorities for _, priorities in queue.waiting])
        left = handles[MAX_CALL_ROWS:], priorities[MAX_CALL_ROWS:]
        queue.waiting, queue.rows_waiting, queue.due_s = [], 0, 0.0
        if left[0].size:
            queue.waiting, queue.rows_waiting = [left], left[0].size
        handles, priorities = handles[:MAX_CALL_ROWS], priorities[:MAX_CALL_ROWS]
        ref = actor.update.remote(handles, priorities)
        queue.sent.append(Update(handles, priorities, ref, time.monotonic()))
        return True

    def _look_again(self, shard: int, queue: ShardQueue) -> None:
        """Nobody serves the shard, as far as this process knows."""
        self._router.refresh()
        queue.due_s = time.monotonic() + queue.backoff_s
        queue.backoff_s = min(2 * queue.backoff_s, MAX_BACKOFF_S)
        if self._router.layout().view(shard) is None:
            queue.waiting.clear()
            queue.rows_waiting = 0

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
