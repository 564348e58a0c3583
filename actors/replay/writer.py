"""`ReplayWriter`: rows from one process into the shards, batched, numbered and pipelined."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from ...errors import Closed, InvalidValue
from ...replay.writers import NStepWriter
from .routing import Router
from .sink import ShardSink
from .spec import ReplaySpec

FLUSH_TIMEOUT_S = 120.0


class ReplayWriter:
    """Writes rows, or with ``n_step`` the transitions over n steps that it makes of them.

    Calls return before the rows are acknowledged; `flush` (and leaving the ``with`` block) waits for that:
    then every row is in as many memories as the buffer's `replicas` and `ack` say, exactly once, whatever
    died meanwhile. What a shard refuses is raised by the next call. Where the buffer has a rate limiter, a
    writer that is ahead of the samplers waits; after two minutes it raises `RateLimited`, its rows kept.
    Not thread-safe, not picklable: make one in every worker, and let it live: numbering makes its
    repetitions harmless.
    """

    def __init__(
        self,
        router: Router,
        spec: ReplaySpec,
        *,
        batch_size: int = 64,
        n_step: int | None = None,
        gamma: float | None = None,
        num_envs: int = 1,
    ) -> None:
        if (n_step is None) != (gamma is None):
            raise InvalidValue("n_step and gamma go together: writer(n_step=3, gamma=0.99).")
        if batch_size < 1:
            raise InvalidValue(f"batch_size begins at 1; got {batch_size}.")
        self._sink = ShardSink(router, spec)
        self._batch_size = batch_size
        self._single_rows = 0  # since rows went out
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
        return self._sink.waiting_rows

    def add(self, **row: Any) -> None:
        """Take one row; with ``n_step`` one step of an environment (``env_id=`` says which)."""
        self._check_open()
        if self._steps is not None:
            self._steps.add(**row)
            return
        self._sink.add(row)
        self._single_rows += 1
        if self._single_rows >= self._batch_size:
            self._single_rows = 0
            self._sink.make_way()

    def add_vector(self, **steps: Any) -> None:
        """With ``n_step``: one step of every environment, columns with one row each."""
        self._check_open()
        if self._steps is None:
            raise InvalidValue("add_vector() is for writers with n_step; add_batch() takes finished rows.")
        self._steps.add_vector(**steps)

    def add_batch(self, columns: Mapping[str, Any], priorities: Any = None) -> None:
        """Take finished rows, as columns whose first axis is the row. They are copied."""
        self._check_open()
        self._single_rows = 0
        self._sink.add_batch(columns, priorities)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Send everything and wait until it is acknowledged. Steps of windows that still run stay."""
        self._check_open()
        self._single_rows = 0
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
