"""`Subscription`: what happens on a cluster, as an iterator or through a callback."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import ray

from ..errors import Closed, InvalidValue, MemoriesError
from .activity import Announcement
from .calls import ATTEMPT_S, GONE, get
from .connection import Connection
from .heartbeat import Heartbeat

log = logging.getLogger(__name__)

KINDS = (
    "moved",
    "evicted",
    "repaired",
    "expired",
    "lost",
    "joined",
    "left",
    "node joined",
    "node lost",
    "serving",
    "missed",
)
"""What can happen. "joined" and "left" are tier actors, "serving" is a coordinator that has (re)started,
"lost" are values without any copy, and "missed" stands for events that this subscriber was too slow for."""

POLL_S = 1.0
KEPT_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `member` is the tier actor that it is about (of a move: where to), or the
    node. `count` is the number of keys, or of events that were missed."""

    what: str
    at_s: float
    member: str = ""
    keys: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Announcements:
    """An answer of the coordinator: `source` is its life, `newest` the number of its last announcement,
    `missed` what it had dropped already. To be asked again from there."""

    source: str = ""
    newest: int = 0
    found: tuple[Announcement, ...] = ()
    missed: int = 0


class Subscription:
    """Events from now on, in their order. An iterator that waits for the next one until `close`; or, with
    a callback, a thread that calls it. Thread-safe.

    It never dies silently: what fails (the coordinator that restarts, the callback that raises) is logged,
    counted in `heartbeat`, and tried again. At most 10,000 events wait; where more come, or where the
    coordinator had to drop some, an event "missed" says how many. Events of the moment in which a
    coordinator dies may be lost with it; "serving" tells that there is a new one.
    """

    def __init__(
        self,
        connection: Connection,
        kinds: Collection[str],
        callback: Callable[[Event], None] | None,
        hidden_prefix: str,
    ) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown:
            raise InvalidValue(f"there are no events {', '.join(unknown)}; choose from {', '.join(KINDS)}")
        self._connection = connection
        self._kinds = frozenset(kinds or KINDS)
        self._callback = callback
        self._hidden_prefix = hidden_prefix
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._closed = False
        self.heartbeat = Heartbeat("subscription")
        self._heard = Announcements()
        self._poll(0.0)  # from now on
        self._thread = threading.Thread(target=self._run, name="memories-subscription", daemon=True)
        self._thread.start()

    def get(self, timeout_s: float | None = None) -> Event:
        """The next event. Raises `queue.Empty` after the timeout, and `Closed` after `close`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._events or self._closed, timeout_s):
                raise queue.Empty
            if self._dropped and "missed" in self._kinds:
                missed, self._dropped = self._dropped, 0
                return Event("missed", self._events[0].at_s, count=missed)
            if self._events:
                return self._events.popleft()
        raise Closed("this subscription was closed")

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self.get()
        except Closed:
            raise StopIteration from None

    @property
    def is_closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed

    def cancel(self) -> None:
        """As `close`, without waiting for the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """End it: the iterator stops after the events that are there. Twice is fine."""
        self.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2 * POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            with self.heartbeat.beat():
                try:
                    self._poll(POLL_S)
                except Closed:
                    break
                except (*GONE, ray.exceptions.GetTimeoutError, ValueError, MemoriesError):
                    self._connection.forget_coordinator()
                    if not ray.is_initialized():
                        break
                    raise
            if self.heartbeat.failures_in_a_row:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, self.heartbeat.pause_s(0.1, 2.0))
        self.cancel()

    def _poll(self, wait_s: float) -> None:
        self._connection.check_usable()
        before = self._heard
        call = self._connection.coordinator().events_after.remote(before.source, before.newest, wait_s)
        answer: Announcements = get(call, wait_s + ATTEMPT_S)
        self._heard = Announcements(answer.source, answer.newest)
        if answer.missed:
            self._take(Event("missed", answer.found[0].at_s, count=answer.missed))
        for noted in answer.found:
            keys = noted.keys
            if self._hidden_prefix and any(key.startswith(self._hidden_prefix) for key in keys):
                keys = tuple(key for key in keys if not key.startswith(self._hidden_prefix))
                if not keys:
                    continue
            self._take(Event(noted.what, noted.at_s, noted.member, keys, len(keys)))

    def _take(self, event: Event) -> None:
        if event.what not in self._kinds:
            return
        if self._callback is not None:
            try:
                self._callback(event)
            except Exception as error:  # the user's code; the next event is told to it as well
                self.heartbeat.failures += 1
                self.heartbeat.last_error = f"callback: {type(error).__name__}: {error}"
                log.exception("the callback of a subscription failed at %r", event.what)
            return
        with self._changed:
            if len(self._events) >= KEPT_EVENTS:
                self._events.popleft()
                self._dropped += 1
            self._events.append(event)
            self._changed.notify_all()
