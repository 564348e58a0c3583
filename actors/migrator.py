"""`Migrator`: which keys should be in another tier by now. Plain Python: the clock is passed in.

Four rules, in this order, with the numbers of the `MigrationPolicy`:

1. *Probation.* What was stored into hot and has not been read within `probation_s` sinks to warm.
2. *Age.* What has not been used for as long as its tier's threshold sinks one tier.
3. *Pressure.* A member above the high watermark sinks what is least valuable (lowest priority, then least
   recently used) until it is below the low one.
4. *Promotion.* What is read `reads_to_rise` times in cold or glacier rises to warm; what sank from hot
   unread, and is read so often after all, rises to hot where there is room.

Pinned keys stay where they are. Moves are limited in bytes, so that they never starve the foreground.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..tiers.policies import MigrationPolicy
from .core.catalog import Catalog, Entry
from .core.model import TIER_ORDER, Kind, MemberId, MemberInfo
from .core.placement import Placement

BATCH_BYTES = 256 << 20
BATCH_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """Move these keys to the tier."""

    keys: tuple[str, ...]
    tier: str
    reason: str


@dataclass(slots=True)
class Use:
    """Reads of a key since it was last written or moved."""

    last_s: float
    reads: int = 0


class Migrator:
    """Watches uses, and plans moves. Belongs to the coordinator's event loop."""

    def __init__(
        self,
        catalog: Catalog,
        placement: Placement,
        clock: Callable[[], float],
        policy: MigrationPolicy,
    ) -> None:
        self._catalog = catalog
        self._placement = placement
        self._clock = clock
        self._policy = policy
        self._started_s = clock()
        self._uses: dict[str, Use] = {}
        self._promotable: dict[str, None] = {}
        self._sunk: set[str] = set()
        """Keys that sank from hot because nobody had read them in time."""

    def used(self, keys: Iterable[str]) -> None:
        """These keys were read."""
        now = self._clock()
        for key in keys:
            use = self._uses.get(key)
            if use is None:
                use = self._uses[key] = Use(now)
            use.last_s = now
            use.reads += 1
            if use.reads == self._policy.reads_to_rise:
                self._promotable[key] = None

    def forgotten(self, keys: Iterable[str]) -> None:
        """These keys were written anew or deleted: earlier reads do not count."""
        for key in keys:
            self._uses.pop(key, None)
            self._promotable.pop(key, None)
            self._sunk.discard(key)

    def plan(self) -> list[Plan]:
        """What should move now. Cost: the keys of hot; those of a member only where it is too full."""
        plans = [*self._probation(), *self._aged(), *self._pressure(), *self._promotions()]
        seen: set[str] = set()
        chosen = []
        for plan in plans:
            keys = tuple(key for key in plan.keys if key not in seen)
            seen.update(keys)
            if keys:
                chosen.append(Plan(keys, plan.tier, plan.reason))
        return chosen

    def make_room(self, tier: str, node: str, nbytes: int) -> Plan | None:
        """What must leave the tier, on the node where possible, so that so many bytes fit; None where
        nothing that may leave would make room."""
        below = self.below(tier)
        if below is None:
            return None
        members = [m for m, info in self._placement.ready.items() if info.tier == tier]
        members.sort(key=lambda m: (self._placement.ready[m].node != node, m))
        for member in members:
            if self._placement.ready[member].capacity_bytes < nbytes:
                continue
            short = nbytes - self._placement.free_bytes(member)
            keys = self._least_valuable(member, short)
            if sum(self._catalog.entries[key].nbytes for key in keys) >= short:
                return Plan(tuple(keys), below, "pressure")
        return None

    def below(self, tier: str) -> str | None:
        """The next tier down that somebody carries."""
        carried = {info.tier for info in self._placement.ready.values()}
        lower = TIER_ORDER[TIER_ORDER.index(tier) + 1 :]
        return next((t for t in lower if t in carried), None)

    # -- the rules ----------------------------------------------------------------------------------

    def _probation(self) -> Iterator[Plan]:
        limit = self._clock() - self._policy.probation_s
        below = self.below("hot")
        if below is None:
            return
        for member in self._members("hot"):
            unread = [
                key
                for key, entry in self._movable(member)
                if entry.changed_s <= limit and key not in self._uses
            ]
            for plan in self._batches(unread, below, "probation"):
                self._sunk.update(plan.keys)
                yield plan

    def _aged(self) -> Iterator[Plan]:
        now = self._clock()
        for tier in TIER_ORDER[:-1]:
            threshold_s = self._policy.threshold_s(tier)
            below = self.below(tier)
            if below is None or now - self._started_s < threshold_s:
                continue
            for member in self._members(tier):
                old = [
                    key
                    for key, entry in self._movable(member)
                    if now - self._last_use_s(key, entry) >= threshold_s
                ]
                yield from self._batches(old, below, "age")

    def _pressure(self) -> Iterator[Plan]:
        for member, info in self._placement.ready.items():
            below = self.below(info.tier)
            used = self._catalog.used_bytes.get(member, 0)
            surplus = self._policy.bytes_to_free(used, info.capacity_bytes)
            if below is not None and surplus:
                yield from self._batches(self._least_valuable(member, surplus), below, "pressure")

    def _promotions(self) -> Iterator[Plan]:
        promotable, self._promotable = self._promotable, {}
        rising: dict[str, list[str]] = {"warm": [], "hot": []}
        room = {member: self._placement.free_bytes(member) for member in self._members("hot")}
        for key in promotable:
            entry = self._catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or entry.pinned:
                continue
            tiers = {self._info(m).tier for m in entry.holders if m in self._placement.ready}
            roomy = next((member for member, free in room.items() if free >= entry.nbytes), None)
            if key in self._sunk and "hot" not in tiers and roomy is not None:
                room[roomy] -= entry.nbytes
                rising["hot"].append(key)
            elif tiers and tiers <= {"cold", "glacier"}:
                rising["warm"].append(key)
        for tier, keys in rising.items():
            if keys and self._members(tier):
                yield from self._batches(keys, tier, "promotion")

    # -- parts --------------------------------------------------------------------------------------

    def _info(self, member: MemberId) -> MemberInfo:
        return self._placement.ready[member]

    def _members(self, tier: str) -> list[MemberId]:
        return [member for member, info in self._placement.ready.items() if info.tier == tier]

    def _movable(self, member: MemberId) -> Iterator[tuple[str, Entry]]:
        entries = self._catalog.entries
        for key in self._catalog.keys_at.get(member, ()):
            entry = entries[key]
            if entry.kind is Kind.VALUE and not entry.pinned and member in entry.holders:
                yield key, entry

    def _last_use_s(self, key: str, entry: Entry) -> float:
        use = self._uses.get(key)
        return entry.changed_s if use is None else max(use.last_s, entry.changed_s)

    def _least_valuable(self, member: MemberId, nbytes: int) -> list[str]:
        """Keys to give up, so that at least so many bytes are free; fewer where there are no more."""
        if nbytes <= 0:
            return []
        ranked = [
            (entry.priority, self._last_use_s(key, entry), key, entry.nbytes)
            for key, entry in self._movable(member)
        ]
        heapq.heapify(ranked)
        keys, freed = [], 0
        while ranked and freed < nbytes:
            _, _, key, size = heapq.heappop(ranked)
            keys.append(key)
            freed += size
        return keys

    def _batches(self, keys: list[str], tier: str, reason: str) -> Iterator[Plan]:
        """One batch: the rest comes at the next round."""
        chosen: list[str] = []
        nbytes = 0
        for key in keys[:BATCH_KEYS]:
            nbytes += self._catalog.entries[key].nbytes
            if chosen and nbytes > BATCH_BYTES:
                break
            chosen.append(key)
        if chosen:
            yield Plan(tuple(chosen), tier, reason)
