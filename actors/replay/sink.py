"""`ShardSink`: finished batches of one writer, joined into calls and handed to the lanes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RateLimited
from ...replay.columns import ColumnStore
from ...replay.priorities import check_priorities
from .core.credits import Action
from .credits import holder_of, most_rows_a_lease
from .lanes import Lanes
from .routing import Router
from .spec import ReplaySpec

MAX_IN_FLIGHT = 8
"""Calls that a writer has in the air."""
EAGER_CALLS = 2
"""So many calls go out as soon as there are rows; beyond them rows are collected first."""
FULL_CALL_BYTES = 256 << 10
MAX_CALL_BYTES = 4 << 20
MAX_CALL_ROWS = 4096
"""A larger batch goes to several shards."""
MAX_WAITING_BYTES = 8 << 20
"""Rows that wait in this process before `add_batch` waits for an acknowledgement."""
LIMITED_TIMEOUT_S = 120.0
WAIT_S = 0.1

Part = tuple[dict[str, NDArray[Any]], NDArray[np.float64] | None, int]


class ShardSink:
    """Joins small batches while calls are in the air. With a rate limiter a call waits for its lease.

    Not thread-safe; nothing runs in the background.
    """

    def __init__(self, router: Router, spec: ReplaySpec) -> None:
        self.lanes = Lanes(router)
        self._spec = spec
        self._check = ColumnStore(spec.schema, 1).check_batch
        self._names = spec.schema.names
        self._row_bytes = max(1, spec.schema.row_nbytes)
        self._most_rows = max(1, min(MAX_CALL_ROWS, MAX_CALL_BYTES // self._row_bytes))
        self._most_waiting = MAX_WAITING_BYTES // self._row_bytes
        self._credits = holder_of(router, spec, Action.INSERT)
        leased_rows = most_rows_a_lease(spec, Action.INSERT)
        if self._credits is not None and leased_rows is not None:
            self._most_rows = min(self._most_rows, leased_rows)
            self._most_waiting = min(self._most_waiting, self._most_rows)
            self.lanes.done = self._credits.done
        self._parts: list[Part] = []
        self._rows = 0
        self._calls: deque[Part] = deque()  # those that wait for a lease
        self._rows_in_calls = 0

    @property
    def waiting_rows(self) -> int:
        """Rows that are not acknowledged."""
        return self._rows + self._rows_in_calls + self.lanes.rows_in_flight

    def add_batch(self, columns: Mapping[str, Any], priorities: Any = None) -> int:
        """Take a batch, whose arrays belong to the writer from now on; returns how many rows it has."""
        self.raise_error()
        arrays, rows = self._check(columns)
        given = None if priorities is None else check_priorities(priorities, rows)
        if rows:
            if self._parts and (self._parts[-1][1] is None) != (given is None):
                self._send_all()
            step = self._most_rows
            for start in range(0, rows, step):
                part = slice(start, start + step)
                cut = {name: array[part] for name, array in zip(self._names, arrays, strict=True)}
                self._parts.append((cut, None if given is None else given[part], min(step, rows - start)))
            self._rows += rows
            self._make_way()
        return rows

    def flush(self, timeout_s: float) -> None:
        """Send everything and wait until it is acknowledged."""
        ends_s = time.monotonic() + timeout_s
        self._send_all()
        while self._calls and self.lanes.error is None:
            self._check_limited(ends_s, timeout_s)
            self._wait()
        self.lanes.drain(max(0.0, ends_s - time.monotonic()))
        self.raise_error()

    def raise_error(self) -> None:
        """What a shard refused is told once, by the next call."""
        error, self.lanes.error = self.lanes.error, None
        if error is not None:
            raise error

    @property
    def _under_way(self) -> int:
        return self.lanes.in_flight + len(self._calls)

    def _make_way(self) -> None:
        """Send what should go out now; wait only where too much is waiting."""
        if self._rows * self._row_bytes >= FULL_CALL_BYTES or self._under_way < EAGER_CALLS:
            if self._under_way >= EAGER_CALLS:
                self._glance()
            if self._under_way < MAX_IN_FLIGHT:
                self._send_some()
        elif self._under_way:
            self._glance()
            if self._under_way < EAGER_CALLS:
                self._send_some()
        ends_s = time.monotonic() + LIMITED_TIMEOUT_S
        while self._rows > self._most_waiting and self.lanes.error is None:
            self._check_limited(ends_s, LIMITED_TIMEOUT_S)
            self._wait()
            if self._under_way < MAX_IN_FLIGHT:
                self._send_some()

    def _glance(self) -> None:
        self.lanes.glance()
        self._spend(0)

    def _wait(self) -> None:
        """For an acknowledgement, or where nothing is in the air for a lease."""
        if self.lanes.in_flight:
            self.lanes.poll(WAIT_S if not self._calls else WAIT_S / 10)
            self._spend(0)
        else:
            self._spend(WAIT_S)

    def _spend(self, timeout_s: float) -> None:
        """Send the calls whose leases are there."""
        if self._credits is None or not self._calls:
            return
        self._credits.poll(timeout_s)
        while self._calls and (taken := self._credits.take()) is not None:
            columns, priorities, rows = self._calls.popleft()
            self._rows_in_calls -= rows
            self.lanes.send(columns, priorities, rows, taken[0])

    def _check_limited(self, ends_s: float, timeout_s: float) -> None:
        if self._calls and time.monotonic() > ends_s:
            raise RateLimited(
                f"{self._spec.rate_limiter} held back this writer of replay buffer {self._spec.name!r} for "
                f"{timeout_s:g} s: sample more, or insert less. {self.waiting_rows} rows are kept"
            )

    def _send_all(self) -> None:
        while self._parts:
            self._send_some()

    def _send_some(self) -> None:
        """One call's worth of what waits."""
        taken: list[Part] = []
        rows = 0
        while self._parts and (not taken or rows + self._parts[0][2] <= self._most_rows):
            taken.append(self._parts.pop(0))
            rows += taken[-1][2]
        self._rows -= rows
        columns, priorities, _ = taken[0]
        if len(taken) > 1:
            columns = {name: np.concatenate([part[0][name] for part in taken]) for name in self._names}
            if priorities is not None:
                priorities = np.concatenate([part[1] for part in taken if part[1] is not None])
        if self._credits is None:
            self.lanes.send(columns, priorities, rows)
            return
        self._calls.append((columns, priorities, rows))
        self._rows_in_calls += rows
        self._credits.ask(rows)
        self._spend(0)
