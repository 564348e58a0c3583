"""`ReadPlan` and `Asking`: how a client goes on until it has an answer. For the simulator's client and Ray's.

A request keeps its id when it is repeated, so repeating is safe. A read first asks the coordinator where
the keys are, then the members; where a key has moved on meanwhile, it asks again, and goes to another copy
where one does not answer or is damaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .commands import Located, Reply
from .events import ClientEvent, CopyCorrupt, DeleteMany, MoveMany, StoreMany, UpdateKeys
from .model import MemberId, Outcome, Version

RETRY_S = 0.02
"""So long a read waits before it asks again for what could not be read."""

_SURE = (Outcome.OK, Outcome.MISSING)


class Asking:
    """One request on its way, perhaps several times."""

    def __init__(self, event: ClientEvent) -> None:
        self.event = event
        self.times = 0

    def sent(self) -> ClientEvent:
        """What is to be sent now."""
        self.times += 1
        return self.event

    def answer(self, reply: Reply) -> Reply:
        """What may be believed of the answer.

        Once a change was asked for twice, its failure is not certain: the other copy of the request may be
        on its way to the next coordinator, and succeed.
        """
        changes = isinstance(self.event, StoreMany | DeleteMany | MoveMany | UpdateKeys)
        if self.times < 2 or reply.outcomes is None or not changes:
            return reply
        known = tuple(o if o in _SURE else Outcome.UNKNOWN for o in reply.outcomes)
        return replace(reply, outcomes=known)


@dataclass(frozen=True, slots=True)
class Visit:
    """Read these keys, in exactly these versions, at this life of a member."""

    member: MemberId
    incarnation: int
    keys: tuple[str, ...]
    versions: tuple[Version, ...]


class ReadPlan:
    """One read of some keys, from the first question to the last answer. Not thread-safe."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._open = dict.fromkeys(keys)
        self._outcomes: dict[str, Outcome] = {}
        """Of keys without a value, or without one yet; all others are read."""
        self._avoid: dict[str, set[tuple[MemberId, int]]] = {}
        """Places that had to be passed over in this round."""
        self._corrupt: dict[str, set[tuple[MemberId, int]]] = {}

    @property
    def done(self) -> bool:
        """Whether every key has its answer."""
        return not self._open

    def wanted(self) -> tuple[str, ...]:
        """The keys to locate now."""
        return tuple(self._open)

    def outcome(self, key: str) -> Outcome:
        """What became of a key; UNAVAILABLE while there is no answer."""
        if key in self._open:
            return self._outcomes.get(key) or Outcome.UNAVAILABLE
        return self._outcomes.get(key, Outcome.OK)

    def located(self, keys: Sequence[str], located: Sequence[Located]) -> list[Visit]:
        """The coordinator has said where they are: whom to visit. What cannot be read now stays wanted."""
        groups: dict[tuple[MemberId, int], tuple[list[str], list[Version]]] = {}
        for key, place in zip(keys, located, strict=True):
            if key not in self._open:
                continue
            if place.outcome is Outcome.OK:
                where = self._choose(key, place) if key in self._avoid else place.members[0]
                if where is None:
                    self._close(key, Outcome.CORRUPT)
                    continue
                group = groups.get(where)
                if group is None:
                    group = groups[where] = ([], [])
                group[0].append(key)
                group[1].append(place.version)
            elif place.outcome is Outcome.UNAVAILABLE:
                self._outcomes[key] = place.outcome
            else:
                self._close(key, place.outcome)
        return [
            Visit(member, incarnation, tuple(names), tuple(versions))
            for (member, incarnation), (names, versions) in groups.items()
        ]

    def visited(self, visit: Visit, failed: Mapping[str, Outcome]) -> list[CopyCorrupt]:
        """The member has answered, or has not; `failed` has what was not read. Returns what to report."""
        reports = []
        place = (visit.member, visit.incarnation)
        for key, version in zip(visit.keys, visit.versions, strict=True):
            outcome = failed.get(key)
            if outcome is None:
                self._open.pop(key, None)
                self._outcomes.pop(key, None)
                continue
            if outcome is Outcome.CORRUPT:
                reports.append(CopyCorrupt(key, version, *place))
                self._corrupt.setdefault(key, set()).add(place)
                self._outcomes[key] = outcome
            self._avoid.setdefault(key, set()).add(place)
        return reports

    def _choose(self, key: str, place: Located) -> tuple[MemberId, int] | None:
        """The nearest copy that has not failed in this round; None where all are damaged."""
        avoid = self._avoid[key]
        fresh = next((where for where in place.members if where not in avoid), None)
        if fresh is None:
            # Every copy has failed once. Those that are corrupt stay so; others may come back.
            corrupt = self._corrupt.get(key, set())
            self._avoid[key] = set(corrupt)
            fresh = next((where for where in place.members if where not in corrupt), None)
        return fresh

    def _close(self, key: str, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        del self._open[key]
