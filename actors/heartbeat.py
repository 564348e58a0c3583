"""`Heartbeat`: a background loop that fails is seen, counted and slowed down, and never dies silently."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Heartbeat:
    """What the status page shows of one loop: its last good round, how many failed, and the last error."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rounds = 0
        self.failures = 0
        self.failures_in_a_row = 0
        self.last_good_s = time.time()
        self.last_error = ""

    @contextmanager
    def beat(self) -> Iterator[None]:
        """One round of the loop: an exception is logged and counted, and the loop goes on."""
        try:
            yield
        except Exception as error:
            self.failures += 1
            self.failures_in_a_row += 1
            self.last_error = f"{type(error).__name__}: {error}"
            log.exception("a round of the loop %r failed (%d in a row)", self.name, self.failures_in_a_row)
        else:
            self.rounds += 1
            self.failures_in_a_row = 0
            self.last_good_s = time.time()

    def pause_s(self, normal_s: float, most_s: float = 5.0) -> float:
        """How long to wait before the next round: longer after each failure in a row."""
        return min(normal_s * 2.0 ** min(self.failures_in_a_row, 10), max(most_s, normal_s))
