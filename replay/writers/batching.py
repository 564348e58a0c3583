"""Single rows in, batches out."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValue
from ..schema import flatten
from .columns import Sink, as_column, common_length
from .outbox import Outbox
from .step_log import StepLog


class BatchWriter:
    """Collects rows in preallocated columns and gives them to the sink ``batch_size`` at a time.

    Worth it where a call of the sink is dear: a remote shard, a lock that many writers share. If `add`
    or `add_batch` raises, the rows were not taken: for example where their columns are not those that the
    writer began with. What the sink refuses is kept and goes out first in the next call, which raises if
    the sink refuses again. Order is preserved. Not thread-safe: one writer a thread.

    Examples:
        >>> from memories.replay import BatchWriter, ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=1_000)
        >>> with BatchWriter(buffer, batch_size=64) as writer:
        ...     for step in range(100):
        ...         writer.add(obs=float(step), action=0)
        >>> len(buffer)
        100
    """

    def __init__(self, sink: Sink, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise InvalidValue(f"batch_size begins at 1; got {batch_size}.")
        self._outbox = Outbox(sink, batch_size)
        self._log = StepLog(1, batch_size)

    def __len__(self) -> int:
        """Rows that the sink has not taken yet."""
        return int(self._log.lengths[0]) + len(self._outbox)

    def add(self, **row: Any) -> None:
        """Take one row: ``add(obs=..., action=..., reward=...)``."""
        columns = {name: as_column(name, value) for name, value in flatten(row).items()}
        if not columns:
            raise InvalidValue("A row needs at least one column, for example obs=...")
        self._log.check(columns, leading=0)
        self._outbox.send_failed()
        self._log.append_one(0, columns)
        if self._log.lengths[0] == self._log.num_steps:
            self._drain()
            self._outbox.try_send()

    def add_batch(self, columns: dict[str, NDArray[Any]]) -> None:
        """Take a batch of rows behind those that wait, without copying it: do not write to it any more."""
        rows = {name: as_column(name, value) for name, value in flatten(columns).items()}
        num_rows = common_length(rows)
        self._log.check(rows, leading=1)
        self._outbox.send_failed()
        if num_rows:
            self._log.begin(rows, leading=1)
            self._drain()
            self._outbox.put(rows)
            self._outbox.try_send_full()

    def flush(self) -> None:
        """Send everything."""
        self._drain()
        self._outbox.send()

    def close(self) -> None:
        """The same as `flush`."""
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drain(self) -> None:
        length = int(self._log.lengths[0])
        if length:
            self._outbox.put({name: column[0, :length].copy() for name, column in self._log.columns.items()})
            self._log.drop_first(np.asarray([length]))
