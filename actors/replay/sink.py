"""`ShardSink`: finished rows of one writer, collected into blocks and handed to the lanes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import RateLimited
from ...replay.columns import ColumnStore
from ...replay.priorities import check_priorities
from .core.credits import Action
from .credits import holder_of, most_rows_a_lease
from .lanes import Lanes
from .routing import Router
from .row_block import RowBlock
from .spec import ReplaySpec

MAX_IN_FLIGHT = 4
"""Calls that a writer has in the air."""
EAGER_CALLS = 2
"""So many calls go out as soon as there are rows; beyond them only full blocks do. A call through the object
store costs some two milliseconds at any size, so a writer that is fast sends large ones by itself."""
MAX_BLOCK_BYTES = 4 << 20
MIN_BLOCK_ROWS = 16
SHARES_OF_A_SHARD = 4
"""A block is no larger than this share of a shard: many rows at once are spread over the shards."""
LIMITED_TIMEOUT_S = 120.0
WAIT_S = 0.1


class ShardSink:
    """Collects rows while calls are in the air. With a rate limiter a call waits for its lease.

    Not thread-safe; nothing runs in the background.
    """

    def __init__(self, router: Router, spec: ReplaySpec) -> None:
        self.lanes = Lanes(router)
        self._spec = spec
        self._check = ColumnStore(spec.schema, 1).check_batch
        self._block_rows = max(
            1,
            min(
                MAX_BLOCK_BYTES // max(1, spec.schema.row_nbytes),
                max(MIN_BLOCK_ROWS, spec.rows_a_shard // SHARES_OF_A_SHARD),
            ),
        )
        # One call at a time keeps the order of a queue, also where a shard is full and the call comes again.
        self._most_calls = 1 if spec.ordered else MAX_IN_FLIGHT
        if spec.ordered:
            self._block_rows = min(self._block_rows, spec.rows_a_shard)
        self._credits = holder_of(router, spec, Action.INSERT)
        leased_rows = most_rows_a_lease(spec, Action.INSERT)
        if self._credits is not None and leased_rows is not None:
            self._block_rows = min(self._block_rows, leased_rows)
        self._open: RowBlock | None = None  # takes the next rows
        self._full: deque[RowBlock] = deque()
        self._leasing: deque[RowBlock] = deque()  # those that wait for their lease
        self._spare: list[RowBlock] = []

    @property
    def waiting_rows(self) -> int:
        """Rows that are not acknowledged."""
        here = sum(block.used for waiting in (self._full, self._leasing) for block in waiting)
        return here + (self._open.used if self._open is not None else 0) + self.lanes.rows_in_flight

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row, which goes out with the next batch."""
        self.raise_error()
        self._block(prioritized=False).add(row)
        self._put_aside_if_full()

    def add_batch(self, columns: Mapping[str, Any], priorities: Any = None) -> int:
        """Take a batch, copied; returns how many rows it has."""
        self.raise_error()
        arrays, rows = self._check(columns)
        given = None if priorities is None else check_priorities(priorities, rows)
        start = 0
        while start < rows:
            block = self._block(given is not None)
            stop = min(rows, start + block.room)
            block.write(arrays, given, start, stop)
            self._put_aside_if_full()
            start = stop
        self.make_way()
        return rows

    def make_way(self) -> None:
        """Send what should go out now; wait only where full blocks cannot."""
        if self._under_way >= min(EAGER_CALLS, self._most_calls):
            self.lanes.glance()
            self._spend(0)
        self._send_full()
        if self._under_way < min(EAGER_CALLS, self._most_calls):
            self._put_aside()
            self._send_full()
        ends_s = time.monotonic() + LIMITED_TIMEOUT_S
        while self._full and self.lanes.error is None:
            self._check_limited(ends_s, LIMITED_TIMEOUT_S)
            self._wait()
            self._send_full()

    def flush(self, timeout_s: float) -> None:
        """Send everything and wait until it is acknowledged."""
        ends_s = time.monotonic() + timeout_s
        self._put_aside()
        self._send_full()
        while (self._full or self._leasing or self.lanes.held_back) and self.lanes.error is None:
            self._check_limited(ends_s, timeout_s)
            self._wait()
            self._send_full()
        self.lanes.drain(max(0.0, ends_s - time.monotonic()))
        self.raise_error()

    def raise_error(self) -> None:
        """What a shard refused is told once, by the next call."""
        error, self.lanes.error = self.lanes.error, None
        if error is not None:
            raise error

    # -- blocks ---------------------------------------------------------------------------------------

    def _block(self, prioritized: bool) -> RowBlock:
        """The open block, with room for a row of this kind."""
        if self._open is not None and self._open.used and self._open.prioritized != prioritized:
            self._put_aside()
        if self._open is None:
            self._open = self._spare.pop() if self._spare else RowBlock(self._spec.schema, self._block_rows)
        return self._open

    def _put_aside_if_full(self) -> None:
        if self._open is not None and not self._open.room:
            self._put_aside()

    def _put_aside(self) -> None:
        """The open block takes no more rows."""
        if self._open is not None and self._open.used:
            self._full.append(self._open)
            self._open = None

    def _acknowledged(self, block: RowBlock, lease: int | None) -> None:
        block.clear()
        if len(self._spare) < MAX_IN_FLIGHT:
            self._spare.append(block)
        if lease is not None and self._credits is not None:
            self._credits.done(lease)

    # -- sending --------------------------------------------------------------------------------------

    @property
    def _under_way(self) -> int:
        return self.lanes.in_flight + len(self._leasing)

    def _send_full(self) -> None:
        while self._full and self._under_way < self._most_calls:
            self._send(self._full.popleft())

    def _send(self, block: RowBlock) -> None:
        if self._credits is None:
            self._hand_on(block, None)
            return
        self._leasing.append(block)
        self._credits.ask(block.used)
        self._spend(0)

    def _hand_on(self, block: RowBlock, lease: int | None) -> None:
        acknowledged = partial(self._acknowledged, block, lease)
        self.lanes.send(block.columns(), block.priorities(), block.used, acknowledged=acknowledged)

    def _wait(self) -> None:
        """For an acknowledgement, or where nothing is in the air for a lease."""
        if self.lanes.in_flight:
            self.lanes.poll(WAIT_S if not self._leasing else WAIT_S / 10)
            self._spend(0)
        else:
            self._spend(WAIT_S)

    def _spend(self, timeout_s: float) -> None:
        """Send the blocks whose leases are there."""
        if self._credits is None or not self._leasing:
            return
        self._credits.poll(timeout_s)
        while self._leasing and (taken := self._credits.take()) is not None:
            self._hand_on(self._leasing.popleft(), taken[0])

    def _check_limited(self, ends_s: float, timeout_s: float) -> None:
        if time.monotonic() <= ends_s:
            return
        if self._leasing or self.lanes.held_back:
            limit = self._spec.rate_limiter or f"A {self._spec.kind} that is full"
            raise RateLimited(
                f"{limit} held back this writer of replay buffer {self._spec.name!r} for "
                f"{timeout_s:g} s: sample more, or insert less. {self.waiting_rows} rows are kept"
            )
