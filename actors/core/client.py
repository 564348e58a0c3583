"""`ClientCore`: requests that are repeated until they are answered or out of time.

A request keeps its id when it is repeated, so repeating is safe. A read first asks the coordinator where
the keys are, then the members; where a key has moved on meanwhile, it asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .commands import Located, Reply
from .events import ClientEvent, CopyCorrupt, LocateMany
from .model import MemberId, Outcome, RequestId, Version


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the coordinator; no answer is awaited by the call itself."""

    event: ClientEvent | CopyCorrupt


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Read these keys at this life of a member. Answer with `ReadDone`, also where it does not answer."""

    ticket: int
    member: MemberId
    incarnation: int
    keys: tuple[str, ...]
    versions: tuple[Version, ...]


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
    event: ClientEvent
    deadline_s: float
    sent_s: float
    times: int = 1


@dataclass(slots=True)
class _Read:
    ticket: int
    keys: tuple[str, ...]
    node: str
    deadline_s: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    avoid: dict[str, set[tuple[MemberId, int]]] = field(default_factory=dict)
    """Places that had to be passed over in this round."""
    corrupt: dict[str, set[tuple[MemberId, int]]] = field(default_factory=dict)
    retry_at_s: float | None = None


class ClientCore:
    """The calls of one client. Not thread-safe.

    `client` names it uniquely over all processes and restarts. Tickets are the caller's names for calls.
    """

    def __init__(
        self, client: str, node: str, clock: Callable[[], float], resend_after_s: float = 2.0
    ) -> None:
        self.client = client
        self.node = node
        self.retry_read_s = 0.02
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
        self._calls[event.request] = _Call(ticket, event, now + timeout_s, now)
        return [Send(event)]

    def read(self, ticket: int, keys: tuple[str, ...], timeout_s: float) -> list[ClientAction]:
        """Find keys and read them."""
        read = _Read(ticket, keys, self.node, self._clock() + timeout_s, open=set(keys))
        self._reads[ticket] = read
        return self._locate(read)

    def replied(self, reply: Reply) -> list[ClientAction]:
        """The coordinator has answered."""
        call = self._calls.pop(reply.request, None)
        if call is None:
            return []
        located = self._locating.pop(reply.request, None)
        if located is None:
            if call.times > 1 and reply.outcomes is not None:
                # Another copy of the request may be on its way to the next coordinator, and succeed.
                sure = (Outcome.OK, Outcome.MISSING)
                known = tuple(o if o in sure else Outcome.UNKNOWN for o in reply.outcomes)
                reply = replace(reply, outcomes=known)
            return [Complete(call.ticket, reply)]
        read, keys = located
        return self._located(read, keys, reply.located) if read.ticket in self._reads else []

    def read_done(self, ticket: int, request: ReadFrom, outcomes: tuple[Outcome, ...]) -> list[ClientAction]:
        """A member has answered, or has not (UNAVAILABLE)."""
        read = self._reads.get(ticket)
        if read is None:
            return []
        actions: list[ClientAction] = []
        place = (request.member, request.incarnation)
        for key, version, outcome in zip(request.keys, request.versions, outcomes, strict=True):
            if outcome is Outcome.OK:
                read.outcomes[key] = outcome
                read.open.discard(key)
                continue
            if outcome is Outcome.CORRUPT:
                actions.append(Send(CopyCorrupt(key, version, *place)))
                read.outcomes[key] = outcome
                read.corrupt.setdefault(key, set()).add(place)
            read.avoid.setdefault(key, set()).add(place)
            read.retry_at_s = self._clock() + self.retry_read_s
        return actions + self._finish(read)

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
                call.times += 1
                actions.append(Send(call.event))
        for read in list(self._reads.values()):
            if now >= read.deadline_s:
                del self._reads[read.ticket]
                actions.append(Complete(read.ticket, None, self._outcomes(read)))
            elif read.retry_at_s is not None and now >= read.retry_at_s:
                read.retry_at_s = None
                actions += self._locate(read)
        return actions

    def _locate(self, read: _Read) -> list[ClientAction]:
        keys = tuple(key for key in read.keys if key in read.open)
        event = LocateMany(self.next_request(), keys, read.node)
        now = self._clock()
        self._calls[event.request] = _Call(read.ticket, event, read.deadline_s, now)
        self._locating[event.request] = (read, keys)
        return [Send(event)]

    def _located(
        self, read: _Read, keys: tuple[str, ...], located: tuple[Located, ...]
    ) -> list[ClientAction]:
        groups: dict[tuple[MemberId, int], list[tuple[str, Version]]] = {}
        for key, place in zip(keys, located, strict=True):
            if key not in read.open:
                continue
            if place.outcome is Outcome.OK:
                avoid = read.avoid.get(key, set())
                fresh = [where for where in place.members if where not in avoid]
                if not fresh:
                    # Every copy has failed once. Those that are corrupt stay so; others may come back.
                    corrupt = read.corrupt.get(key, set())
                    avoid.clear()
                    avoid |= corrupt
                    fresh = [where for where in place.members if where not in corrupt]
                if not fresh:
                    read.outcomes[key] = Outcome.CORRUPT
                    read.open.discard(key)
                    continue
                groups.setdefault(fresh[0], []).append((key, place.version))
            elif place.outcome is Outcome.UNAVAILABLE:
                read.outcomes[key] = place.outcome
                read.retry_at_s = self._clock() + self.retry_read_s
            else:
                read.outcomes[key] = place.outcome
                read.open.discard(key)
        actions: list[ClientAction] = [
            ReadFrom(read.ticket, member, incarnation, tuple(k for k, _ in items), tuple(v for _, v in items))
            for (member, incarnation), items in groups.items()
        ]
        return actions + self._finish(read)

    def _finish(self, read: _Read) -> list[ClientAction]:
        if read.open:
            return []
        self._reads.pop(read.ticket, None)
        return [Complete(read.ticket, None, self._outcomes(read))]

    def _outcomes(self, read: _Read) -> tuple[Outcome, ...]:
        return tuple(Outcome.UNAVAILABLE if key in read.open else read.outcomes[key] for key in read.keys)
