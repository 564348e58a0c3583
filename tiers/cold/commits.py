"""Group commit: threads that write at the same time share one fsync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .frames import Description, Kind


@dataclass(slots=True)
class Change:
    """One key's change, prepared as far as it can be without knowing what else happens."""

    kind: Kind
    key: str
    description: Description
    payload: tuple[memoryview, ...] = ()
    payload_bytes: int = 0
    temporary: Path | None = None
    """For FILE: the written and fsynced file that only needs its name; None once that is durable."""
    file_bytes: int = 0
    frees_room: bool = False
    """Whether nothing is left of the key after it, but that it is gone."""
    applied: bool = False
    """Whether there was anything to change: a DELETE of an absent key is not."""


@dataclass(slots=True)
class _Ticket:
    changes: Sequence[Change]
    error: BaseException | None = None
    done: bool = False


@dataclass(slots=True)
class GroupCommit:
    """Hands the changes of all threads that wait to one of them, which writes them together.

    `write` gets a list of changes, under the lock; it has made all of them durable when it returns, and
    none of them where it raises.
    """

    write: Callable[[list[Change]], None]
    lock: threading.RLock = field(default_factory=threading.RLock)
    _queue: list[_Ticket] = field(default_factory=list)
    _queueing: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, changes: Sequence[Change]) -> None:
        """Write the changes; raises what `write` raised for them."""
        ticket = _Ticket(changes)
        with self._queueing:
            self._queue.append(ticket)
        with self.lock:
            if not ticket.done:
                with self._queueing:
                    tickets, self._queue = self._queue, []
                self._write(tickets)
        if ticket.error is not None:
            raise ticket.error

    def _write(self, tickets: list[_Ticket]) -> None:
        try:
            self.write([change for ticket in tickets for change in ticket.changes])
        except BaseException as error:  # noqa: BLE001 - handed to the threads that wait for it
            if len(tickets) == 1 or not isinstance(error, Exception):
                for ticket in tickets:
                    ticket.error = error
            else:  # what is too much for the disk together may not be so one by one
                for ticket in tickets:
                    self._write([ticket])
        finally:
            for ticket in tickets:
                ticket.done = True
