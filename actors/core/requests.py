"""`Requests`: what clients ask for, one change of a key at a time, each request at most once.

A request that changes keys has all of them to itself (`busy`) until it is finished; others that want one
of them wait, each in its turn: nobody who comes later takes a key before one who waits for it. One that is
repeated while it runs is the same request; one that was answered with a failure gets the same answer again,
because what was said to have changed nothing must not take effect later. (What took effect is known by the
marks of its client in the catalog.)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from . import events as ev
from .commands import AskAgain, Reply
from .deletes import DeleteRequest
from .model import Outcome, RequestId
from .moves import MoveRequest
from .stores import StoreRequest
from .updates import UpdateRequest

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_APPLIED = {Outcome.OK, Outcome.MISSING}
"""Outcomes of mutations that leave a trace by which their repetition is known."""


class LockingRequest(Protocol):
    """A request that has its keys to itself while it runs."""

    @property
    def request(self) -> RequestId: ...

    @property
    def keys(self) -> tuple[str, ...]: ...

    def begin(self) -> None: ...


class Requests:
    """The clients' requests that are under way, that wait, or that have failed."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self.busy: dict[str, LockingRequest] = {}
        self.recheck: set[str] = set()
        """Busy keys whose copies are to be looked at when they are free again."""
        self._waiting: dict[str, deque[LockingRequest]] = {}
        """Who waits, by the key that each waits for at present."""
        self._places: dict[str, deque[LockingRequest]] = {}
        """Everyone who waits and wants the key, the first to come first."""
        self._pending: set[RequestId] = set()
        self._moves: set[RequestId] = set()
        """Moves that are under way; they lock nothing."""
        self._failed: dict[RequestId, tuple[float, Reply]] = {}
        self._parked: dict[RequestId, ev.ClientEvent] = {}
        """What has come before the catalog was rebuilt."""

    @property
    def none_open(self) -> bool:
        """Whether no request is changing anything, or waits to do so."""
        return not (self.busy or self._waiting or self._parked)

    def is_wanted(self, key: str) -> bool:
        """Whether a request has the key, or waits for it."""
        return key in self.busy or key in self._places

    def park(self, event: ev.ClientEvent) -> None:
        """Keep a request until the catalog is rebuilt."""
        self._parked[event.request] = event

    def serve_parked(self) -> None:
        """The catalog is rebuilt: serve what has waited for it."""
        parked, self._parked = self._parked, {}
        for event in parked.values():
            self.serve(event)

    def serve(self, event: ev.ClientEvent) -> None:
        """Answer a request, or begin what it asks for; it is answered when that is done."""
        core = self._core
        if event.request in self._failed:
            core.emit(self._failed[event.request][1])
            return
        match event:
            case ev.StoreMany():
                if event.request not in self._pending:
                    self._lock(StoreRequest(core, event))
            case ev.DeleteMany():
                if event.request not in self._pending:
                    self._lock(DeleteRequest(core, event))
            case ev.LocateMany():
                core.queries.locate(event)
            case ev.ListKeys():
                core.queries.list_keys(event)
            case ev.MoveMany():
                if event.request not in self._moves:
                    self._moves.add(event.request)
                    MoveRequest(core, event).advance()
            case ev.UpdateKeys():
                if event.request not in self._pending:
                    self._lock(UpdateRequest(core, event))

    def _lock(self, request: LockingRequest) -> None:
        self._pending.add(request.request)
        busy, places = self.busy, self._places
        keys = request.keys
        if busy.keys().isdisjoint(keys) and (not places or places.keys().isdisjoint(keys)):
            busy.update(dict.fromkeys(keys, request))
            request.begin()
            return
        for key in keys:
            places.setdefault(key, deque()).append(request)
        self._go_on_waiting(request)

    def _go_on_waiting(self, request: LockingRequest) -> None:
        """Begin what has waited, or have it wait for the next key that it cannot have yet."""
        busy, places = self.busy, self._places
        blocker = next((key for key in request.keys if key in busy or places[key][0] is not request), None)
        if blocker is not None:
            self._waiting.setdefault(blocker, deque()).append(request)
            return
        for key in request.keys:
            places[key].popleft()
            if not places[key]:
                del places[key]
        busy.update(dict.fromkeys(request.keys, request))
        request.begin()

    def finish(self, request: LockingRequest, reply: Reply | None) -> None:
        """The request is over (None: without an answer); its keys are free again."""
        core = self._core
        if reply is None:
            core.emit(AskAgain(request.request))
        else:
            core.emit(reply)
            if reply.outcomes is not None and not _APPLIED.issuperset(reply.outcomes):
                self._failed[reply.request] = (core.clock(), reply)
        self._pending.discard(request.request)
        busy, waiting = self.busy, self._waiting
        for key in request.keys:
            busy.pop(key, None)
        core.rebuild.released(request.keys)
        core.transfers.released(request.keys)
        if self.recheck:
            again = self.recheck.intersection(request.keys)
            self.recheck -= again
            core.doubts.check_lost(sorted(again))
            core.transfers.check(sorted(again))
        if waiting:
            woken = [waiting.pop(key) for key in request.keys if key in waiting]
            for queue in woken:
                for later in queue:
                    self._go_on_waiting(later)

    def moved(self, reply: Reply) -> None:
        """A move is over."""
        self._moves.discard(reply.request)
        self._core.emit(reply)

    def forget_failures(self, limit_s: float) -> None:
        """Nobody repeats what failed before this time."""
        while self._failed and next(iter(self._failed.values()))[0] < limit_s:
            del self._failed[next(iter(self._failed))]
