"""`QueueReader`: takes rows out of a queue or a stack on the cluster, each as often as it may be taken."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray
from numpy.typing import NDArray

from ...errors import Closed, DeadlineExceeded, InvalidValue
from ...replay.batch import Batch
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S
from .core import events as ev
from .core.replicated import TakenRows
from .routing import Router, result_of
from .spec import ReplaySpec

MAX_PAUSE_S = 0.1
"""A shard that had no rows is asked again after so long at most."""
LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class Take:
    """What is asked of one logical shard: sent again with its number until it is answered."""

    number: int = 1
    count: int = 0  # 0: nothing is under way
    ref: ray.ObjectRef[Any] | None = None
    sent_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = FIRST_BACKOFF_S


class QueueReader:
    """An endless iterator of batches of `batch_size` rows; waits for rows, and raises `DeadlineExceeded`
    where too few come in `timeout_s`: those that came are kept for the next call.

    A row goes to one reader, whatever dies meanwhile but the reader: a shard that is asked again gives the
    same rows again. What a reader has fetched ahead (up to `prefetch` batches) leaves with it. Rows come in
    the order of their shard; over several shards there is no order. Not thread-safe; nothing runs in the
    background.
    """

    def __init__(
        self,
        router: Router,
        spec: ReplaySpec,
        batch_size: int,
        *,
        prefetch: int = 1,
        device: Any = None,
        timeout_s: float = 60.0,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("prefetch", prefetch)):
            if not isinstance(value, int) or value < 1:
                raise InvalidValue(f"{name} is {value!r}, must be a positive integer.")
        self._router, self._spec = router, spec
        self.batch_size = batch_size
        self._prefetch, self._device, self._timeout_s = prefetch, device, timeout_s
        self._name = uuid.uuid4().hex
        self._takes: dict[int, Take] = {}
        self._parts: deque[tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]]] = deque()
        self._rows = 0
        self._layout_ref: ray.ObjectRef[Any] | None = None
        self._looked_s = time.monotonic()
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        batch = self.take(self.batch_size, self._timeout_s)
        self._ask(self.batch_size * (self._prefetch - 1))
        return batch if self._device is None else batch.to_torch(self._device)

    def take(self, rows: int, timeout_s: float) -> Batch:
        """One batch of so many rows."""
        if self._closed:
            raise Closed("this reader is closed; make another one")
        ends_s = time.monotonic() + timeout_s
        while self._rows < rows:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise DeadlineExceeded(
                    f"{self._spec.kind} {self._spec.name!r} gave {self._rows} of {rows} rows within "
                    f"{timeout_s:g} s. They are kept for the next call; Replay.stats() shows what there is"
                )
            self._ask(rows)
            self._hear(min(left_s, MAX_PAUSE_S))
        return self._cut(rows)

    def close(self) -> None:
        """Take no more. Twice is fine."""
        self._closed = True
        self._takes.clear()
        self._parts.clear()
        self._rows = 0
        self._layout_ref = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- parts ----------------------------------------------------------------------------------------

    def _ask(self, wanted: int) -> None:
        """Ask for what is missing of so many rows, of all shards in equal parts; repeat what is due."""
        now_s = time.monotonic()
        shards = [view.shard for view in self._router.layout().shards]
        for logical in [
            shard for shard, take in self._takes.items() if shard not in shards and not take.count
        ]:
            del self._takes[logical]
        # What a shard has not given yet is asked of no other one: a reader holds no more than was wanted.
        missing = wanted - self._rows - sum(take.count for take in self._takes.values())
        free = [take for shard in shards if not (take := self._takes.setdefault(shard, Take())).count]
        free = [take for take in free if now_s >= take.due_s]
        for turn, take in enumerate(free):
            take.count = max(0, -(-missing // (len(free) - turn)))
            missing -= take.count
        for logical, take in self._takes.items():
            if take.count and take.ref is None and now_s >= take.due_s:
                self._send(logical, take)

    def _send(self, logical: int, take: Take) -> None:
        actor = self._router.primary(self._router.layout().home_of(logical))
        if actor is None:
            self._look_again(take)
            return
        take.sent_s = time.monotonic()
        take.ref = actor.take.remote(self._name, logical, take.number, take.count)

    def _hear(self, timeout_s: float) -> None:
        self._look()
        refs = {take.ref: take for take in self._takes.values() if take.ref is not None}
        if not refs:
            time.sleep(min(timeout_s, FIRST_BACKOFF_S))
            return
        ray.wait(list(refs), num_returns=1, timeout=timeout_s)
        ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
        for ref in ready:
            self._take_in(refs[ref], result_of(ref, ATTEMPT_S))
        now_s = time.monotonic()
        for take in refs.values():
            if take.ref is not None and now_s - take.sent_s > ATTEMPT_S:
                self._look_again(take)

    def _take_in(self, take: Take, answer: Any) -> None:
        if not (isinstance(answer, ev.Done) and isinstance(answer.result, TakenRows)):
            if isinstance(answer, ev.NotPrimary):
                self._router.learn_view(answer)
            self._look_again(take)
            return
        rows = answer.result
        if rows.columns is not None:
            self._parts.append((rows.columns, rows.handles))
            self._rows += len(rows)
            take.pause_s = FIRST_BACKOFF_S
        else:
            take.due_s = time.monotonic() + take.pause_s
            take.pause_s = min(2 * take.pause_s, MAX_PAUSE_S)
        take.ref, take.count = None, 0
        take.number += 1

    def _look(self) -> None:
        """Hear of new shards now and then, without waiting."""
        now_s = time.monotonic()
        if self._layout_ref is not None:
            ready, _ = ray.wait([self._layout_ref], timeout=0)
            if ready:
                found = result_of(self._layout_ref, ATTEMPT_S)
                self._layout_ref = None
                if found is not None:
                    self._router.learn(found)
            elif now_s - self._looked_s > ATTEMPT_S:
                self._layout_ref = None
        elif now_s - self._looked_s > LOOK_AGAIN_S:
            self._looked_s = now_s
            self._layout_ref = self._router.request_layout(suspicious=False)

    def _look_again(self, take: Take) -> None:
        """Nobody answered: the same take goes to whoever serves the shard then."""
        take.ref = None
        take.due_s = time.monotonic() + take.pause_s
        take.pause_s = min(2 * take.pause_s, MAX_PAUSE_S)
        found = result_of(self._router.request_layout(suspicious=True), ATTEMPT_S)
        if found is not None:
            self._router.learn(found)

    def _cut(self, rows: int) -> Batch:
        """The next rows of those that came."""
        self._rows -= rows
        parts = []
        while rows:
            columns, handles = self._parts.popleft()
            if len(handles) > rows:
                rest = {name: column[rows:] for name, column in columns.items()}, handles[rows:]
                self._parts.appendleft(rest)
                columns, handles = {name: column[:rows] for name, column in columns.items()}, handles[:rows]
            parts.append((columns, handles))
            rows -= len(handles)
        if len(parts) == 1:
            return Batch(dict(parts[0][0]), parts[0][1], population=1)
        joined = {name: np.concatenate([columns[name] for columns, _ in parts]) for name in parts[0][0]}
        return Batch(joined, np.concatenate([handles for _, handles in parts]), population=1)
