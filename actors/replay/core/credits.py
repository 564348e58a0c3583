"""`CreditsCore`: who may insert and who may sample how much, so that samples per insert stay near a ratio.

The truth is what the shards have counted. A holder asks for rows before it inserts or draws them and gets
a lease; rows under a lease that are not surely counted yet are held against both sides. A lease ends by
itself, earlier for its holder than here, so a dead holder keeps nobody waiting; what it did is counted by
the shards. After a restart nothing is known of old leases, so nothing is granted until they have ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from ....replay.rate_limiters import Counters, SamplesPerInsert
from ...core.events import Tick as Tick

LEASE_S = 5.0
HOLDER_LEASE_S = 4.0
"""Counted by the holder from the moment it asked, so its lease ends first whatever the call took."""
PATIENCE_S = 1.0
"""An ask that cannot be granted for so long is answered with no; the holder asks again, if it lives."""


class Action(Enum):
    INSERT = "insert"
    SAMPLE = "sample"


# -- events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """A holder wants to insert or sample so many rows, all of them or none."""

    call: int
    action: Action
    rows: int


@dataclass(frozen=True, slots=True)
class Release:
    """The rows of these leases are done: a count that begins from now on has them."""

    leases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the shards said, each after `began_s`; one that did not answer is missing."""

    began_s: float
    by_shard: Mapping[int, Counters]


Event = Ask | Release | Counted | Tick

# -- commands -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to an ask; `lease` is None where it cannot be granted now."""

    call: int
    lease: int | None


@dataclass(frozen=True, slots=True)
class CountShards:
    """Ask the shards what they have counted, and feed `Counted`."""


Command = Grant | CountShards


@dataclass(slots=True)
class Lease:
    action: Action
    rows: int
    ends_s: float
    released_s: float | None = None


class CreditsCore:
    """One mutator, `handle`; one instance a buffer. Not thread-safe.

    after_restart: leases of an earlier issuer may be in use.
    """

    def __init__(
        self, limiter: SamplesPerInsert, clock: Callable[[], float], *, after_restart: bool = True
    ) -> None:
        self._limiter = limiter
        self._clock = clock
        self._quiet_until_s = clock() + LEASE_S if after_restart else float("-inf")
        self._by_shard: dict[int, Counters] = {}
        self._counted_s = float("-inf")
        self._counting = False
        self._leases: dict[int, Lease] = {}
        self._next_lease = 1
        self._asks: dict[Action, deque[tuple[Ask, float]]] = {action: deque() for action in Action}
        self._out: list[Command] = []

    @property
    def waiting(self) -> int:
        """Asks without an answer."""
        return sum(len(asks) for asks in self._asks.values())

    def handle(self, event: Event) -> list[Command]:
        """Take one event in; returns what is to be done."""
        now_s = self._clock()
        match event:
            case Ask():
                self._asks[event.action].append((event, now_s))
            case Release(leases):
                for lease in leases:
                    if lease in self._leases:
                        self._leases[lease].released_s = now_s
            case Counted():
                self._count(event)
        self._give_up(now_s)
        self._grant(now_s)
        if self.waiting and not self._counting:
            self._counting = True
            self._out.append(CountShards())
        out, self._out = self._out, []
        return out

    def _count(self, event: Counted) -> None:
        self._counting = False
        if event.began_s < self._counted_s or not event.by_shard:
            return
        self._counted_s = event.began_s
        # They may also have gone back: after a restore, or a few draws after a fail-over.
        self._by_shard.update(event.by_shard)
        counted = [n for n, lease in self._leases.items() if self._is_counted(lease, event.began_s)]
        for number in counted:
            del self._leases[number]

    @staticmethod
    def _is_counted(lease: Lease, began_s: float) -> bool:
        """Whether a count has all that was done under a lease: nothing is done after its end."""
        done_s = lease.ends_s if lease.released_s is None else min(lease.ends_s, lease.released_s)
        return done_s < began_s

    def _give_up(self, now_s: float) -> None:
        for asks in self._asks.values():
            while asks and now_s - asks[0][1] >= PATIENCE_S:
                self._out.append(Grant(asks.popleft()[0].call, None))

    def _grant(self, now_s: float) -> None:
        if not self._by_shard or self._counted_s < self._quiet_until_s:
            return
        for action, asks in self._asks.items():
            # In the order of their asking: a large one is not passed for ever by small ones.
            while asks and self._may(action, asks[0][0].rows):
                ask, _ = asks.popleft()
                number, self._next_lease = self._next_lease, self._next_lease + 1
                self._leases[number] = Lease(action, ask.rows, now_s + LEASE_S)
                self._out.append(Grant(ask.call, number))

    def _may(self, action: Action, rows: int) -> bool:
        """Whatever becomes of the leases that are out: all of their rows, or none."""
        now = self._counters()
        out = sum(lease.rows for lease in self._leases.values() if lease.action is action)
        if action is Action.INSERT:
            then = now._replace(size=now.size + out, inserted=now.inserted + out)
            return self._limiter.may_insert(then, rows) or self._limiter.may_refill(then, rows)
        return self._limiter.may_sample(now._replace(sampled=now.sampled + out), rows)

    def _counters(self) -> Counters:
        shards = self._by_shard.values()
        return Counters(
            sum(c.size for c in shards), sum(c.inserted for c in shards), sum(c.sampled for c in shards)
        )
