"""`Outbox`: the commands that members have not answered yet, numbered, repeated, and settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .commands import Command, MemberCommand
from .events import Done, InventoryReported
from .model import STAMP_BITS, Fence, MemberId, MemberInfo

Answer = Done | InventoryReported


class Owner(Protocol):
    """Whoever sent a command learns here what became of it."""

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        """`answer` is None when the member was lost: the command may or may not have been executed."""


@dataclass(slots=True)
class Waiting:
    """A command on its way."""

    command: MemberCommand
    owner: Owner
    sent_s: float


class Outbox:
    """Hands out fences and remembers who waits for which answer."""

    def __init__(self, emit: Callable[[Command], None], clock: Callable[[], float]) -> None:
        self._emit = emit
        self._clock = clock
        self._epoch = 0
        self._number = 0
        self._waiting: dict[MemberId, dict[int, Waiting]] = {}
        self._lives: dict[MemberId, int] = {}

    def start_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._number = 0

    def add_member(self, info: MemberInfo) -> None:
        self._waiting[info.member] = {}
        self._lives[info.member] = info.incarnation

    def incarnation(self, member: MemberId) -> int:
        """The life of the member that commands are addressed to."""
        return self._lives[member]

    def fence(self, member: MemberId) -> Fence:
        """The fence for the next command to this member, which must be sent before another is made."""
        self._number += 1
        stamp = (self._epoch << STAMP_BITS) + self._number
        waiting = self._waiting[member]
        settled = next(iter(waiting), stamp)
        return Fence(member, self._lives[member], self._epoch, stamp, settled)

    def send(self, command: MemberCommand, owner: Owner) -> None:
        """Emit the command, and again after a while until it is answered."""
        fence = command.fence
        self._waiting[fence.member][fence.stamp] = Waiting(command, owner, self._clock())
        self._emit(command)

    def receive(self, answer: Answer) -> None:
        """Pass an answer to whoever waits for it. Answers nobody waits for are repeats: ignored."""
        if self._lives.get(answer.member) != answer.incarnation:
            return
        waiting = self._waiting[answer.member].pop(answer.stamp, None)
        if waiting is not None:
            waiting.owner.answered(waiting.command, answer)

    def remove_member(self, member: MemberId) -> list[Waiting]:
        """Stop waiting for a member. The caller tells the owners, once everything knows of the loss."""
        self._lives.pop(member, None)
        return list(self._waiting.pop(member, {}).values())

    def resend(self, after_s: float) -> None:
        """Repeat what has not been answered for so long."""
        now = self._clock()
        for waiting in self._waiting.values():
            settled = next(iter(waiting), 0)
            for late in waiting.values():
                if now - late.sent_s >= after_s:
                    late.sent_s = now
                    self._emit(replace(late.command, fence=replace(late.command.fence, settled=settled)))

    def in_flight(self, member: MemberId) -> int:
        """How many commands the member has not answered."""
        return len(self._waiting.get(member, ()))
