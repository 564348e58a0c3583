"""The requests that wait for an answer of the coordinator core, and the answers that were given."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Unavailable
from .calls import ATTEMPT_S
from .core import commands as cmd
from .core import events as ev
from .core.model import RequestId
from .own_loop import OwnLoop

KEPT_REPLIES = 4096
GONE_AFTER_S = 1.5 * ATTEMPT_S
"""Who still waits for a request asks again after `ATTEMPT_S`: later than this nobody does any more."""


@dataclass(slots=True)
class _Waiting:
    """Those who wait for the answer to one request, and until when they may."""

    event: ev.ClientEvent
    answer: asyncio.Future[cmd.Reply]
    until_s: float


class PendingRequests:
    """Joins those who ask for the same request, and remembers the newest `KEPT_REPLIES` answers.

    Used by the coordinator's loop only.
    """

    def __init__(self, loop: OwnLoop, feed: Callable[[ev.Event], None]) -> None:
        self._loop = loop
        self._feed = feed
        self._waiting: dict[RequestId, _Waiting] = {}
        self._answered: OrderedDict[RequestId, cmd.Reply] = OrderedDict()

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def answer_to(self, request: RequestId) -> cmd.Reply | None:
        """The answer that was given, where it is remembered."""
        return self._answered.get(request)

    async def ask(self, event: ev.ClientEvent, until_s: float = math.inf) -> cmd.Reply:
        """Feed a request to the core and wait for its answer; until `until_s`, unless somebody repeats it."""
        waiting = self._waiting.get(event.request)
        if waiting is None:
            waiting = self._waiting[event.request] = _Waiting(event, self._loop.create_future(), until_s)
        waiting.until_s = until_s
        self._feed(event)  # a repetition as well: the core tells it from a new request
        return await waiting.answer

    def ask_again(self, request: RequestId) -> None:
        """Feed a request once more, if somebody waits for it."""
        waiting = self._waiting.get(request)
        if waiting is not None:
            self._feed(waiting.event)

    def answer(self, reply: cmd.Reply) -> None:
        """Give an answer to those who wait for it."""
        if not reply.located and not reply.keys:  # reading again is as good as remembering
            self._answered[reply.request] = reply
        while len(self._answered) > KEPT_REPLIES:
            self._answered.popitem(last=False)
        waiting = self._waiting.pop(reply.request, None)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(reply)

    def release_the_gone(self) -> None:
        """End the calls that nobody waits for any more; each has a thread."""
        now_s = time.monotonic()
        for request in [request for request, waiting in self._waiting.items() if waiting.until_s < now_s]:
            answer = self._waiting.pop(request).answer
            if not answer.done():
                answer.set_exception(Unavailable(f"request {request} was not answered, nor repeated in time"))
                answer.exception()  # seen: who asked may have gone
