"""`Migrator`: which keys should be in another tier by now. Plain Python: the clock is passed in.

Each member has a `TierPolicy` of its own, which is told what comes, is read and goes. From these, and from
the numbers of the `MigrationPolicy`, come five reasons to move:

- *probation*: what was stored into hot and was not read in time sinks;
- *age*: what was not used for as long as its tier's threshold sinks;
- *pressure*: a member above its high watermark sinks what its policy values least, down to the low one;
- *promotion*: what is read often enough below rises: from cold or glacier to warm, and to hot what had sunk
  from there, where there is room;
- *prefetch*: what a predictor expects next comes up from cold or glacier, within its budget.

What happens is noted at once, and worked through later in slices (`digest`), so that a request pays next to
nothing and no round costs more the more keys there are. The catalog is the truth: whatever a policy names is
checked against it first. Pinned keys stay where they are.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..tiers.policies import MigrationPolicy, RiseOnRead, TierPolicy
from ..tiers.predictor import Predictor, PredictorStats
from .core.catalog import Catalog, Entry
from .core.commands import Located
from .core.model import TIER_ORDER, Kind, MemberId, Outcome
from .core.placement import Placement
from .residents import Noted, Residents

BATCH_BYTES = 8 << 20
"""Of one move: a writer that needs room waits behind it, and it lies in the object store meanwhile."""
BATCH_KEYS = 1024
ROUND_BYTES = 256 << 20
"""At most so much of one member is named in one round; the rest comes in the next."""
SLICE_KEYS = 1024
SLICES_FOR_ROOM = 16
"""Of what was noted; a writer that needs room does not wait for more of it."""
MOST_READ_NOTES = 4096
"""Reads beyond these are not counted: a policy can live with that, the coordinator's memory could not."""
KEYS_TO_PREDICT = 64
"""Of one request: whoever reads more at a time fetches ahead himself."""
MOST_SUNK = 65_536
PAUSE_S = 1.0
"""A member whose keys found no room below is left alone for so long."""
PREFETCH_SHARE = 0.1
SLOW_TIERS = frozenset(("cold", "glacier"))
SINKING = frozenset(("probation", "age", "pressure"))


@dataclass(frozen=True, slots=True)
class Plan:
    """Move these keys to the tier. `member`: where they sink from; `node`: where they had best arrive."""

    keys: tuple[str, ...]
    tier: str
    reason: str
    member: MemberId = ""
    node: str = ""
    nbytes: int = 0


class Migrator:
    """Follows what happens to keys, and plans moves. Belongs to the coordinator's event loop."""

    def __init__(
        self,
        catalog: Catalog,
        placement: Placement,
        clock: Callable[[], float],
        policy: MigrationPolicy,
    ) -> None:
        self.policy = policy
        self._catalog = catalog
        self._placement = placement
        self._clock = clock
        self._residents = Residents(catalog, placement, clock, policy)
        self._notes: deque[tuple[Noted, Sequence[str]]] = deque()
        self._reads: deque[tuple[Sequence[str], Sequence[Located], str, str]] = deque(maxlen=MOST_READ_NOTES)
        self._arrived: set[MemberId] = set()
        self._backlog: deque[Iterator[str]] = deque()
        self._rise = RiseOnRead(policy)
        self._rising: dict[str, str] = {}
        """Keys that are to rise, with the tier; those that are under way stay here until `settle`."""
        self._asked: set[str] = set()
        """Keys that rise, or are fetched, just now."""
        self._sunk: OrderedDict[str, None] = OrderedDict()
        """Keys that we have let sink from hot."""
        self._predictor = Predictor(0)
        self._fetches: dict[str, str] = {}
        self._paused_until_s: dict[MemberId, float] = {}

    # -- what happens -------------------------------------------------------------------------------

    def note(self, what: Noted, keys: Sequence[str]) -> None:
        """Something happened to these keys."""
        for start in range(0, len(keys), SLICE_KEYS):
            self._notes.append((what, keys[start : start + SLICE_KEYS]))

    def note_reads(self, keys: Sequence[str], located: Sequence[Located], reader: str, node: str) -> None:
        """A reader on a node was told where these keys are."""
        for start in range(0, len(keys), SLICE_KEYS):
            end = start + SLICE_KEYS
            self._reads.append((keys[start:end], located[start:end], reader, node))

    def note_member(self, member: MemberId, *, there: bool) -> None:
        """A member has come, with whatever it holds, or has gone."""
        self._residents.forget(member)
        (self._arrived.add if there else self._arrived.discard)(member)

    @property
    def may_fetch_ahead(self) -> bool:
        """Whether reads may lead to something to fetch."""
        ready, used = self._placement.ready, self._catalog.used_bytes
        return self.policy.prefetch_bytes > 0 and any(
            used.get(member) for member, info in ready.items() if info.tier in SLOW_TIERS
        )

    @property
    def has_news(self) -> bool:
        """Whether stores or reads are still to be looked at."""
        return bool(self._notes or self._reads)

    @property
    def behind(self) -> bool:
        """Whether `digest` has more to do."""
        return bool(self.has_news or self._arrived or self._backlog)

    def digest(self) -> None:
        """Work through one slice of what was noted: stores before reads, then what arrived with a member.

        However few keys a note has: else those who store one by one are faster than this, and what nobody
        has looked at cannot leave.
        """
        for member in self._arrived:
            self._backlog.append(iter(list(self._catalog.keys_at.get(member, ()))))
        self._arrived.clear()
        left = SLICE_KEYS
        while self._notes and left > 0:
            what, changed = self._notes.popleft()
            left -= len(changed)
            for key in changed:
                self._follow(key, what)
        while self._reads and not self._notes and left > 0:
            read = self._reads.popleft()
            left -= len(read[0])
            self._digest_reads(*read)
        if left == SLICE_KEYS and self._backlog:
            arrived = list(itertools.islice(self._backlog[0], left))
            for key in arrived:
                self._follow(key, Noted.COPIED)
            if not arrived:
                self._backlog.popleft()

    def _follow(self, key: str, what: Noted) -> None:
        there = self._residents.follow(key, what, proven=key in self._asked)
        if what is Noted.STORED or not there:
            self._rise.on_remove(key)
            self._sunk.pop(key, None)

    def _digest_reads(self, keys: Sequence[str], located: Sequence[Located], reader: str, node: str) -> None:
        now_s = self._clock()
        predicts = self.may_fetch_ahead
        for number, (key, where) in enumerate(zip(keys, located, strict=True)):
            entry = self._catalog.entries.get(key)
            if where.outcome is not Outcome.OK or entry is None or entry.kind is not Kind.VALUE:
                continue
            if where.version != entry.version:
                continue  # stores are looked at first: it was an earlier value that was read
            policy = self._residents.policies.get(where.members[0][0])
            if policy is not None:
                policy.on_access(key, now_s)
            tier = self._rises_to(key, entry)
            if tier is not None and key not in self._asked and self._rise.on_access(key, now_s):
                self._rising[key] = tier
            if predicts and number < KEYS_TO_PREDICT:
                for wanted in self._predictor.on_access(key, self._bytes_to_fetch, reader):
                    self._fetches[wanted] = node

    def _rises_to(self, key: str, entry: Entry) -> str | None:
        """The tier to which the key would rise if it is read often; None where it is at home."""
        if entry.pinned:
            return None
        ready = self._placement.ready
        tiers = {ready[member].tier for member in entry.holders if member in ready}
        if tiers and tiers <= SLOW_TIERS:
            return "warm"
        return "hot" if key in self._sunk and "hot" not in tiers else None

    def _bytes_to_fetch(self, key: str) -> int | None:
        entry = self._catalog.entries.get(key)
        if entry is None or entry.kind is not Kind.VALUE or key in self._asked:
            return None
        return entry.nbytes if self._rises_to(key, entry) == "warm" else None

    # -- what should move ---------------------------------------------------------------------------

    def plan(self) -> list[Plan]:
        """What should move now, apart from `fetches`. Bounded work, whatever the number of keys. The keys
        are leaving until `settle` is called for each plan."""
        plans = [*self._promotions()]
        now_s = self._clock()
        for member, policy in self._lowest_first():
            below = self._carried_below(member)
            if below is None or self._paused_until_s.get(member, now_s) > now_s:
                continue
            due: dict[str, list[str]] = {}
            for key, reason in policy.due(now_s, BATCH_KEYS):
                due.setdefault(reason, []).append(key)
            for reason, keys in due.items():
                plans += self._batches(self._residents.movable(member, keys), below, reason, member)
            used = self._catalog.used_bytes.get(member, 0) - policy.leaving_bytes
            surplus = self.policy.bytes_to_free(used, policy.capacity_bytes)
            if surplus > 0:
                victims = self._residents.victims(member, min(surplus, ROUND_BYTES))
                plans += self._batches(victims, below, "pressure", member)
        return plans

    def fetches(self) -> list[Plan]:
        """What the predictor wants now."""
        warm = sum(info.capacity_bytes for info in self._placement.ready.values() if info.tier == "warm")
        self._predictor.budget_bytes = min(self.policy.prefetch_bytes, int(warm * PREFETCH_SHARE))
        by_node: dict[str, list[str]] = {}
        fetches, self._fetches = self._fetches, {}
        for key, node in fetches.items():
            if key in self._rising or self._bytes_to_fetch(key) is None:
                self._predictor.on_failed(key)
            else:
                by_node.setdefault(node, []).append(key)
        plans: list[Plan] = []
        for node, keys in by_node.items():
            plans += self._batches(keys, "warm", "prefetch", node=node)
        self._asked.update(key for plan in plans for key in plan.keys)
        return plans

    def make_room(self, tier: str, node: str, nbytes: int) -> Plan | None:
        """What must leave the tier, on the node where possible, so that so many bytes fit; None where
        nothing that may leave would make room. To be settled as the others."""
        for _ in range(SLICES_FOR_ROOM):
            if self._notes:
                self.digest()
        members = [m for m, info in self._placement.ready.items() if info.tier == tier]
        members.sort(key=lambda m: (self._placement.ready[m].node != node, m))
        for member in members:
            below = self._carried_below(member)
            policy = self._residents.policy_of(member)
            short = nbytes - self._placement.free_bytes(member)
            if below is None or policy is None or policy.capacity_bytes < nbytes or short <= 0:
                continue
            keys = self._residents.victims(member, short)
            while self._nbytes(keys) < short and self._backlog:
                self.digest()
                keys += self._residents.victims(member, short - self._nbytes(keys))
            if self._nbytes(keys) >= short:
                return Plan(tuple(keys), below, "pressure", member, nbytes=self._nbytes(keys))
            for key in keys:
                policy.keep(key)
        return None

    def settle(self, plan: Plan, outcomes: Sequence[Outcome] | None) -> int:
        """A plan was carried out, with these outcomes (None: nobody knows). How many keys moved."""
        moved = 0
        policy = self._residents.policies.get(plan.member)
        for i, key in enumerate(plan.keys):
            outcome = Outcome.UNAVAILABLE if outcomes is None else outcomes[i]
            self._follow(key, Noted.MOVED)
            self._asked.discard(key)
            if outcome is Outcome.OK:
                moved += 1
                if plan.reason in SINKING:
                    self._sank(key, plan.member)
            elif policy is not None:
                policy.keep(key)
            if outcome is Outcome.FULL:
                self._paused_until_s[plan.member] = self._clock() + PAUSE_S
            if plan.reason == "prefetch" and outcome is not Outcome.OK:
                self._predictor.on_failed(key)
        return moved

    @property
    def prediction(self) -> PredictorStats:
        """What fetching ahead has cost and brought."""
        return self._predictor.stats

    # -- parts --------------------------------------------------------------------------------------

    def _sank(self, key: str, member: MemberId) -> None:
        self._predictor.on_failed(key)  # if it was fetched, then in vain
        if self._placement.ready.get(member) and self._placement.ready[member].tier == "hot":
            self._sunk[key] = None
            if len(self._sunk) > MOST_SUNK:
                self._sunk.popitem(last=False)
        entry, policy = self._catalog.entries.get(key), self._residents.policies.get(member)
        if entry is not None and member in entry.holders and policy is not None:
            policy.on_remove(key)  # this copy is needed where it is: naming it again would lead to nothing

    def _promotions(self) -> Iterator[Plan]:
        rising, self._rising = self._rising, {}
        chosen: dict[str, list[str]] = {}
        promised: dict[MemberId, int] = {}
        for key, tier in rising.items():
            entry = self._catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or self._rises_to(key, entry) != tier:
                continue
            nbytes = entry.nbytes
            for member, info in self._placement.ready.items():
                policy = self._residents.policy_of(member) if info.tier == tier else None
                if policy is not None and policy.admits(nbytes):
                    taken = promised.get(member, 0)
                    if self._placement.free_bytes(member) - taken >= nbytes:
                        promised[member] = taken + nbytes
                        chosen.setdefault(tier, []).append(key)
                        break
        for tier, keys in chosen.items():
            self._asked.update(keys)
            yield from self._batches(keys, tier, "promotion")

    def _lowest_first(self) -> list[tuple[MemberId, TierPolicy]]:
        """So that there is room below for what sinks."""
        found = list(self._residents.policies.items())
        found.sort(key=lambda pair: -TIER_ORDER.index(pair[1].tier))
        return found

    def _carried_below(self, member: MemberId) -> str | None:
        """The next tier down that somebody carries; None for a member that is not there."""
        info = self._placement.ready.get(member)
        if info is None:
            return None
        carried = {info.tier for info in self._placement.ready.values()}
        lower = TIER_ORDER[TIER_ORDER.index(info.tier) + 1 :]
        return next((tier for tier in lower if tier in carried), None)

    def _nbytes(self, keys: Iterable[str]) -> int:
        entries = self._catalog.entries
        return sum(entries[key].nbytes for key in keys)

    def _batches(
        self, keys: Sequence[str], tier: str, reason: str, member: MemberId = "", node: str = ""
    ) -> Iterator[Plan]:
        chosen: list[str] = []
        nbytes = 0
        for key in keys:
            size = self._catalog.entries[key].nbytes
            if chosen and (nbytes + size > BATCH_BYTES or len(chosen) >= BATCH_KEYS):
                yield Plan(tuple(chosen), tier, reason, member, node, nbytes)
                chosen, nbytes = [], 0
            chosen.append(key)
            nbytes += size
        if chosen:
            yield Plan(tuple(chosen), tier, reason, member, node, nbytes)
