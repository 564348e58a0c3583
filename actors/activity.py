"""`Activity`: what the coordinator notes of reads, moves and events as they happen, in bounded memory."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .core.commands import Announce, Located
from .core.model import MemberId, Outcome
from .hot_keys import HotKeys

EVENTS_KEPT = 1000
EVENTS_SHOWN = 100
SHOWN_KEYS = 3


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something that happened, for subscribers and the status page."""

    number: int
    at_s: float
    what: str
    member: str
    keys: tuple[str, ...]


class Activity:
    """Belongs to the coordinator's event loop; not thread-safe. Counts begin with the coordinator."""

    def __init__(self) -> None:
        self.started_s = time.time()
        self.announcements: deque[Announcement] = deque(maxlen=EVENTS_KEPT)
        self.counts: Counter[str] = Counter()
        """How often each kind of event was announced, by keys."""
        self.found: Counter[MemberId] = Counter()
        """Reads by the member that has the nearest copy."""
        self.missed = 0
        self.flows: dict[tuple[MemberId, MemberId, str], tuple[int, int]] = {}
        """Keys and bytes by source, target and kind of copy."""
        self.hot_keys = HotKeys()
        self._numbers = 0

    def announce(self, command: Announce) -> Announcement:
        """Note an event, and what it says of a flow."""
        self._numbers += 1
        self.counts[command.what] += max(1, len(command.keys))
        if command.source:
            route = (command.source, command.member, command.what)
            keys, nbytes = self.flows.get(route, (0, 0))
            self.flows[route] = (keys + len(command.keys), nbytes + command.nbytes)
        noted = Announcement(self._numbers, time.time(), command.what, command.member, command.keys)
        self.announcements.append(noted)
        return noted

    def located(self, keys: Sequence[str], located: Sequence[Located]) -> None:
        """Note where the keys of a read were found."""
        found = [where.members[0][0] for where in located if where.outcome is Outcome.OK]
        self.found.update(found)
        if len(found) < len(located):
            self.missed += sum(where.outcome is Outcome.MISSING for where in located)
        self.hot_keys.read(keys)

    @property
    def newest_number(self) -> int:
        """The number of the last announcement; 0 before the first."""
        return self._numbers

    def since(self, after: int) -> tuple[Announcement, ...]:
        """The announcements after this number that are still kept."""
        wanted = min(self._numbers - after, len(self.announcements))
        return tuple(self.announcements)[len(self.announcements) - wanted :] if wanted > 0 else ()

    def newest(self) -> list[Announcement]:
        """The last events, the newest first."""
        return list(self.announcements)[: -EVENTS_SHOWN - 1 : -1]

    def found_by_tier(self, tier_of: Mapping[MemberId, str]) -> dict[str, int]:
        """Reads by tier; those of members that are gone are found by their name."""
        by_tier: Counter[str] = Counter()
        for member, reads in self.found.items():
            by_tier[tier_of.get(member) or tier_of_name(member)] += reads
        return dict(by_tier)


def tier_of_name(member: MemberId) -> str:
    """The tier that a member is: the last part of its name, without a number."""
    return member.rpartition("/")[2].rstrip("0123456789")
