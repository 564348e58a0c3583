"""`Connection`: what one process needs to talk to one cluster: request numbers, handles, deadlines."""

from __future__ import annotations

import itertools
import threading
import uuid
from contextlib import AbstractContextManager
from typing import Any

import ray

from ..errors import Closed
from . import wire
from .calls import Deadline, get, persist
from .core import commands as cmd
from .core import events as ev
from .core.model import MemberId, MemberInfo, RequestId
from .core.read_plan import Asking
from .running import find_coordinator
from .session import check_not_forked
from .turns import Turns

DEFAULT_TIMEOUT_S = 60.0


class Connection:
    """Every request is numbered, and repeated with its number until it is answered, so that a repetition
    changes nothing. Thread-safe. Not for use in a forked child: that raises `Closed`."""

    def __init__(self, cluster: str, namespace: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.timeout_s = timeout_s
        self.node = ray.get_runtime_context().get_node_id()
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._turns = Turns(self._name)
        self._closed = False
        self._lock = threading.Lock()
        self._coordinator: Any = None
        self._tier_actors: dict[MemberId, Any] = {}

    def ask(self, event: ev.ClientEvent, what: str, timeout_s: float | None) -> cmd.Reply:
        """The answer to a request, which is repeated until it is answered or out of time."""
        self.check_usable()
        deadline = Deadline.after(self.timeout_or_default(timeout_s), what)
        message = wire.dump(event)
        asking = Asking(event)

        def attempt(attempt_s: float) -> cmd.Reply:
            asking.sent()
            reply: cmd.Reply = wire.load(get(self.coordinator().ask.remote(message), attempt_s))
            return reply

        reply: cmd.Reply = persist(attempt, deadline, self.forget_coordinator)
        return asking.answer(reply)

    def tell(self, event: ev.Event) -> None:
        """Best effort: what is told here is found out again if it is lost."""
        self.coordinator().tell.remote(event)

    def next_request(self) -> RequestId:
        """The id of a request that may come in any order; one that changes keys takes a `turn`."""
        return RequestId(self._name, next(self._numbers))

    def turn(self) -> AbstractContextManager[RequestId]:
        """The id of a request that changes keys, for as long as it runs: see `Turns`."""
        return self._turns.take()

    def timeout_or_default(self, timeout_s: float | None) -> float:
        """The timeout of a call."""
        return self.timeout_s if timeout_s is None else timeout_s

    def coordinator(self) -> Any:
        """The coordinator's handle. Raises `NotRunning` where somebody has ended the cluster."""
        with self._lock:
            if self._coordinator is None:
                self._coordinator = find_coordinator(self.cluster, self.namespace)
            return self._coordinator

    def forget_coordinator(self) -> None:
        """A call to the coordinator failed: look it up again."""
        with self._lock:
            self._coordinator = None

    def tier_actor(self, member: MemberId, deadline: Deadline) -> Any | None:
        """The handle of a member's actor; None where it has none now."""
        actor = self._tier_actors.get(member)
        if actor is None:
            name = persist(
                lambda s: get(self.coordinator().actor_name.remote(member), s),
                deadline,
                self.forget_coordinator,
            )
            if name is None:
                return None
            try:
                actor = ray.get_actor(name, self.namespace)
            except ValueError:
                return None
            self._tier_actors[member] = actor
        return actor

    def known_tier_actor(self, member: MemberId) -> Any | None:
        """The handle of a member's actor, if it need not be asked for."""
        return self._tier_actors.get(member)

    def check_usable(self) -> None:
        """Raise `Closed` after `close` and in a forked child."""
        if self._closed:
            raise Closed("this memory is closed")
        check_not_forked()

    def forget_tier_actor(self, member: MemberId) -> None:
        """A call to this member failed: look it up again."""
        self._tier_actors.pop(member, None)

    def members(self, deadline: Deadline, *, all_known: bool = False) -> tuple[MemberInfo, ...]:
        """The members that can be read and written now. `all_known`: raises `Unavailable` while a disk is
        away and nobody knows what it holds."""
        found: tuple[MemberInfo, ...] = persist(
            lambda s: get(self.coordinator().members.remote(all_known), s), deadline, self.forget_coordinator
        )
        return found

    def call(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """What a method of the coordinator answers; one that may be called again."""
        self.check_usable()
        deadline = Deadline.after(self.timeout_or_default(timeout_s), method)
        return persist(
            lambda s: get(getattr(self.coordinator(), method).remote(*arguments), s),
            deadline,
            self.forget_coordinator,
        )

    def close(self) -> None:
        """Forget the connection. The cluster goes on."""
        self._closed = True
