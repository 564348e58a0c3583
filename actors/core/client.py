"""`ClientCore`: the calls of one client, in a simulated cluster: `Asking` and `ReadPlan` with a clock.

The client on Ray blocks where this one waits for the next event; what both do is in `read_plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .commands import Located, Reply
from .events import ClientEvent, CopyCorrupt, LocateMany
from .model import Outcome, RequestId
from .read_plan import RETRY_S, Asking, ReadPlan, Visit


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the coordinator; no answer is awaited by the call itself."""

    event: ClientEvent | CopyCorrupt


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Make this visit. Answer with `ReadDone`, also where the member does not answer."""

    ticket: int
    visit: Visit


@dataclass(frozen=True, slots=True)
class Complete:
    """The call is over. `reply` None: out of time, and nobody knows what became of it.

    `outcomes` are those of a read, for each key; the values of those that are OK came with `ReadDone`.
    """

    ticket: int
    reply: Reply | None = None
    outcomes: tuple[Outcome, ...] = ()


ClientAction = Send | ReadFrom | Complete


@dataclass(slots=True)
class _Call:
    ticket: int
    asking: Asking
    deadline_s: float
    sent_s: float


@dataclass(slots=True)
class _Read:
    ticket: int
    keys: tuple[str, ...]
    plan: ReadPlan
    deadline_s: float
    retry_at_s: float | None = None


class ClientCore:
    """Not thread-safe.

    `client` names it uniquely over all processes and restarts. Tickets are the caller's names for calls.
    """

    def __init__(
        self, client: str, node: str, clock: Callable[[], float], resend_after_s: float = 2.0
    ) -> None:
        self.client = client
        self.node = node
        self._clock = clock
        self._resend_after_s = resend_after_s
        self._sequence = 0
        self._calls: dict[RequestId, _Call] = {}
        self._reads: dict[int, _Read] = {}
        self._locating: dict[RequestId, tuple[_Read, tuple[str, ...]]] = {}

    def next_request(self) -> RequestId:
        """The id for a new request."""
        self._sequence += 1
        return RequestId(self.client, self._sequence)

    def call(self, ticket: int, event: ClientEvent, timeout_s: float) -> list[ClientAction]:
        """Send a request, made with an id from `next_request`."""
        now = self._clock()
        asking = Asking(event)
        self._calls[event.request] = _Call(ticket, asking, now + timeout_s, now)
        return [Send(asking.sent())]

    def read(self, ticket: int, keys: tuple[str, ...], timeout_s: float) -> list[ClientAction]:
        """Find keys and read them."""
        read = self._reads[ticket] = _Read(ticket, keys, ReadPlan(keys), self._clock() + timeout_s)
        return self._locate(read)

    def replied(self, reply: Reply) -> list[ClientAction]:
        """The coordinator has answered."""
        call = self._calls.pop(reply.request, None)
        if call is None:
            return []
        located = self._locating.pop(reply.request, None)
        if located is None:
            return [Complete(call.ticket, call.asking.answer(reply))]
        read, keys = located
        return self._located(read, keys, reply.located) if read.ticket in self._reads else []

    def read_done(self, request: ReadFrom, outcomes: tuple[Outcome, ...]) -> list[ClientAction]:
        """A member has answered, or has not (UNAVAILABLE)."""
        read = self._reads.get(request.ticket)
        if read is None:
            return []
        failed = {key: o for key, o in zip(request.visit.keys, outcomes, strict=True) if o}
        if failed:
            read.retry_at_s = self._clock() + RETRY_S
        return [*map(Send, read.plan.visited(request.visit, failed)), *self._finish(read)]

    def tick(self) -> list[ClientAction]:
        """Time has passed: repeat, or give up."""
        now = self._clock()
        actions: list[ClientAction] = []
        for request, call in list(self._calls.items()):
            if now >= call.deadline_s:
                del self._calls[request]
                if self._locating.pop(request, None) is None:
                    actions.append(Complete(call.ticket))
            elif now - call.sent_s >= self._resend_after_s:
                call.sent_s = now
                actions.append(Send(call.asking.sent()))
        for read in list(self._reads.values()):
            if now >= read.deadline_s:
                actions.append(self._complete(read))
            elif read.retry_at_s is not None and now >= read.retry_at_s:
                read.retry_at_s = None
                actions += self._locate(read)
        return actions

    def _locate(self, read: _Read) -> list[ClientAction]:
        keys = read.plan.wanted()
        asking = Asking(LocateMany(self.next_request(), keys, self.node))
        request = asking.event.request
        self._calls[request] = _Call(read.ticket, asking, read.deadline_s, self._clock())
        self._locating[request] = (read, keys)
        return [Send(asking.sent())]

    def _located(
        self, read: _Read, keys: tuple[str, ...], located: tuple[Located, ...]
    ) -> list[ClientAction]:
        visits = read.plan.located(keys, located)
        if any(place.outcome is Outcome.UNAVAILABLE for place in located):
            read.retry_at_s = self._clock() + RETRY_S
        return [*(ReadFrom(read.ticket, visit) for visit in visits), *self._finish(read)]

    def _finish(self, read: _Read) -> list[ClientAction]:
        return [self._complete(read)] if read.plan.done else []

    def _complete(self, read: _Read) -> Complete:
        self._reads.pop(read.ticket, None)
        return Complete(read.ticket, None, tuple(read.plan.outcome(key) for key in read.keys))
