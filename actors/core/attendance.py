"""`Attendance`: which lives of members are over, by who answers when everybody is greeted.

Silence is counted in greetings that nobody answered in their time, not in seconds since the last answer:
whoever greets may itself have been stopped for a minute, and would then find everybody silent at once.
A member that is given up by mistake forgets what is volatile when it comes back, so a doubt is not enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .model import MemberId, MemberInfo

TOLERATED = 3
"""So many greetings in a row without an answer, and the member is treated as lost."""


@dataclass(slots=True)
class Seat:
    """The place of one actor: a tier on a node. `info` is its last answer."""

    node: str
    tier: str
    info: MemberInfo | None = None
    missed: int = 0
    dead: bool = False

    @property
    def lost(self) -> bool:
        return self.dead or self.missed >= TOLERATED


class Attendance:
    """Seats by name. Not thread-safe."""

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        self._seat_of: dict[MemberId, str] = {}

    def expect(self, name: str, node: str, tier: str) -> None:
        """An actor should answer from now on."""
        self.seats[name] = Seat(node, tier)

    def remove(self, name: str) -> None:
        """Nobody is expected there any more: its node is gone."""
        del self.seats[name]

    def answered(self, name: str, info: MemberInfo) -> None:
        """A greeting was answered."""
        seat = self.seats.get(name)
        if seat is not None:
            seat.info, seat.missed, seat.dead = info, 0, False
            self._seat_of[info.member] = name

    def missed(self, name: str) -> None:
        """A greeting was not answered in its time."""
        seat = self.seats.get(name)
        if seat is not None:
            seat.missed += 1

    def died(self, name: str) -> None:
        """The process that answered before is dead for certain."""
        seat = self.seats.get(name)
        if seat is not None:
            seat.dead = True

    def present(self) -> Iterator[MemberInfo]:
        """Who answered when last greeted."""
        for seat in self.seats.values():
            if seat.info is not None and not seat.missed and not seat.dead:
                yield seat.info

    def seat_of(self, member: MemberId) -> str | None:
        """Where the member was last heard, if that place is still there."""
        name = self._seat_of.get(member)
        return name if name in self.seats else None

    def is_lost(self, info: MemberInfo, alive: Collection[str]) -> bool:
        """Whether this life of a member is over, or silent for too long; `alive` are the nodes that are."""
        if info.node not in alive:
            return True
        name = self.seat_of(info.member)
        if name is not None:
            seat = self.seats[name]
            if seat.info is not None and seat.info.member == info.member:
                return seat.lost or seat.info.incarnation != info.incarnation
        # Not heard by this coordinator. It may be any actor of its tier there that has not answered yet.
        unheard = [s for s in self.seats.values() if (s.node, s.tier) == (info.node, info.tier)]
        return all(seat.lost for seat in unheard if seat.info is None)
