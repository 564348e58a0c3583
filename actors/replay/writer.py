"""`ReplayWriter`: rows from one process into the shards, batched, numbered and pipelined."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import Closed, InvalidValue
from ...replay.columns import ColumnStore
from ...replay.priorities import check_priorities
from ...replay.schema import Schema
from ...replay.writers import BatchWriter, NStepWriter
from .lanes import Lanes
from .routing import Router

FLUSH_TIMEOUT_S = 120.0
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

Part = tuple[dict[str, NDArray[Any]], NDArray[np.float64] | None, int]


class ShardSink:
    """Takes finished batches, joins small ones while calls are in the air, and hands them to the lanes."""

    def __init__(self, router: Router, schema: Schema) -> None:
        self.lanes = Lanes(router)
        self._check = ColumnStore(schema, 1).check_batch
        self._names = schema.names
        self._row_bytes = max(1, schema.row_nbytes)
        self._most_rows = max(1, min(MAX_CALL_ROWS, MAX_CALL_BYTES // self._row_bytes))
        self._parts: list[Part] = []
        self._rows = 0

    @property
    def waiting_rows(self) -> int:
        """Rows that are not acknowledged."""
        return self._rows + self.lanes.rows_in_flight

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
        self._send_all()
        self.lanes.drain(timeout_s)
        self.raise_error()

    def raise_error(self) -> None:
        """What a shard refused is told once, by the next call."""
        error, self.lanes.error = self.lanes.error, None
        if error is not None:
            raise error

    def _make_way(self) -> None:
        """Send what should go out now; wait only where too much is waiting."""
        nbytes = self._rows * self._row_bytes
        if nbytes >= FULL_CALL_BYTES or self.lanes.in_flight < EAGER_CALLS:
            if self.lanes.in_flight >= EAGER_CALLS:
                self.lanes.poll(0)
            if self.lanes.in_flight < MAX_IN_FLIGHT:
                self._send_some()
        elif self.lanes.in_flight:
            self.lanes.poll(0)
            if self.lanes.in_flight < EAGER_CALLS:
                self._send_some()
        while self._rows * self._row_bytes > MAX_WAITING_BYTES and self.lanes.error is None:
            self.lanes.poll(0.1)
            if self.lanes.in_flight < MAX_IN_FLIGHT:
                self._send_some()

    def _send_all(self) -> None:
        while self._parts:
            self._send_some()

    def _send_some(self) -> None:
        """One call's worth of what waits."""
        most_rows = self._most_rows
        taken: list[Part] = []
        rows = 0
        while self._parts and (not taken or rows + self._parts[0][2] <= most_rows):
            taken.append(self._parts.pop(0))
            rows += taken[-1][2]
        self._rows -= rows
        columns, priorities, _ = taken[0]
        if len(taken) > 1:
            columns = {name: np.concatenate([part[0][name] for part in taken]) for name in self._names}
            if priorities is not None:
                priorities = np.concatenate([part[1] for part in taken if part[1] is not None])
        self.lanes.send(columns, priorities, rows)


class ReplayWriter:
    """Writes rows, or with ``n_step`` the transitions over n steps that it makes of them.

    Calls return before the rows are acknowledged; `flush` (and leaving the ``with`` block) waits for that:
    then every row is in as many memories as the buffer's `replicas` and `ack` say, exactly once, whatever
    died meanwhile. What a shard refuses is raised by the next call. Not thread-safe, not picklable: make
    one in every worker, and let it live: numbering makes its repetitions harmless.
    """

    def __init__(
        self,
        router: Router,
        schema: Schema,
        *,
        batch_size: int = 64,
        n_step: int | None = None,
        gamma: float | None = None,
        num_envs: int = 1,
    ) -> None:
        if (n_step is None) != (gamma is None):
            raise InvalidValue("n_step and gamma go together: writer(n_step=3, gamma=0.99).")
        self._sink = ShardSink(router, schema)
        self._batches = BatchWriter(self._sink, batch_size)
        self._steps = (
            None
            if n_step is None or gamma is None
            else NStepWriter(self._sink, n_step, gamma, num_envs=num_envs, batch_size=batch_size)
        )
        self._closed = False

    @property
    def name(self) -> str:
        """What the shards call this writer."""
        return self._sink.lanes.writer

    @property
    def waiting_rows(self) -> int:
        """Finished rows that were given to the writer and are not acknowledged so far."""
        return len(self._batches) + self._sink.waiting_rows

    def add(self, **row: Any) -> None:
        """Take one row; with ``n_step`` one step of an environment (``env_id=`` says which)."""
        self._check_open()
        if self._steps is not None:
            self._steps.add(**row)
        else:
            self._batches.add(**row)

    def add_vector(self, **steps: Any) -> None:
        """With ``n_step``: one step of every environment, columns with one row each."""
        self._check_open()
        if self._steps is None:
            raise InvalidValue("add_vector() is for writers with n_step; add_batch() takes finished rows.")
        self._steps.add_vector(**steps)

    def add_batch(self, columns: Mapping[str, Any], priorities: Any = None) -> None:
        """Take finished rows, as columns whose first axis is the row. They are copied."""
        self._check_open()
        if len(self._batches):
            self._batches.flush()
        self._sink.add_batch(_copied(columns), priorities)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Send everything and wait until it is acknowledged. Steps of windows that still run stay."""
        self._check_open()
        self._batches.flush()
        if self._steps is not None:
            self._steps.flush()
        self._sink.flush(timeout_s)

    def close(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """End running episodes (as truncated), and `flush`. Twice is fine."""
        if self._closed:
            return
        if self._steps is not None:
            self._steps.close()
        self.flush(timeout_s)
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this writer is closed; make another one")


def _copied(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The batch with arrays of its own: the caller may write to its arrays again at once."""
    copied: dict[str, Any] = {}
    for name, value in columns.items():
        if isinstance(value, Mapping):
            copied[name] = _copied(value)
        elif isinstance(value, np.ndarray):
            copied[name] = value.copy()
        else:
            copied[name] = value
    return copied
