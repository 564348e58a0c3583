"""Finished rows on their way to the sink, sent in batches and kept until the sink has taken them."""

from __future__ import annotations

import logging
from collections import deque

from .columns import Columns, Sink, common_length, concatenate

logger = logging.getLogger(__name__)


class Outbox:
    """Collects batches of rows and sends at least ``batch_size`` of them at a time.

    A sink that raises has taken nothing: the rows stay here, in order, and the same batch goes out with
    the next `send`. Not thread-safe.
    """

    def __init__(self, sink: Sink, batch_size: int) -> None:
        self._sink = sink
        self._batch_size = batch_size
        self._waiting: deque[Columns] = deque()
        self._in_flight: Columns | None = None
        self._num_rows = 0

    def __len__(self) -> int:
        """Rows that the sink has not taken yet."""
        return self._num_rows

    def put(self, rows: Columns) -> None:
        """Take rows over; the arrays belong to the outbox from now on."""
        num_rows = common_length(rows)
        if num_rows:
            self._waiting.append(rows)
            self._num_rows += num_rows

    def send(self) -> None:
        """Send everything; a batch that failed before goes first, as it was."""
        while self._in_flight is not None or self._waiting:
            if self._in_flight is None:
                self._in_flight = concatenate(self._waiting)
                self._waiting.clear()
            self._sink.add_batch(self._in_flight)
            self._num_rows -= common_length(self._in_flight)
            self._in_flight = None

    def send_full(self) -> None:
        """Send if a batch has come together."""
        if self._num_rows >= self._batch_size:
            self.send()

    def send_failed(self) -> None:
        """Repeat a batch that the sink refused; nothing where the last `send` succeeded."""
        if self._in_flight is not None:
            self.send()

    def try_send(self) -> None:
        """Send, but leave the report of a failure to the `send_failed` of the next call.

        For the end of a call that has already changed its writer: an error raised there could not tell
        the caller that the step was taken, and a caller that repeats the step would store it twice.
        """
        try:
            self.send()
        except Exception as error:  # noqa: BLE001 - raised again by send_failed, if it is still there
            logger.info("%d rows wait: the sink refused them with %r", len(self), error)

    def try_send_full(self) -> None:
        """`try_send` if a batch has come together."""
        if self._num_rows >= self._batch_size:
            self.try_send()
