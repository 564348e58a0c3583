"""`Residents`: a `TierPolicy` for each member, kept in step with the catalog, which stays the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto

from ..tiers.policies import MigrationPolicy, TierPolicy
from .core.catalog import Catalog
from .core.model import Kind, MemberId
from .core.placement import Placement


class Noted(Enum):
    """What happened to a key."""

    STORED = auto()
    """Written, anew or for the first time."""
    MOVED = auto()
    """Somebody moved it to another tier: there it begins anew."""
    COPIED = auto()
    """It has a copy more, or was found on a member that has come: nothing is known of its use."""
    CHANGED = auto()
    """Another priority or pin, or it was deleted."""


class Residents:
    """What every member's policy knows. Cost: O(1) a key that is followed. Not thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        placement: Placement,
        clock: Callable[[], float],
        migration: MigrationPolicy,
    ) -> None:
        self._catalog = catalog
        self._placement = placement
        self._clock = clock
        self._migration = migration
        self.policies: dict[MemberId, TierPolicy] = {}
        self._homes: dict[str, tuple[MemberId, ...]] = {}

    def follow(self, key: str, what: Noted, *, proven: bool) -> bool:
        """Let the policies know where the key is now, and whether it is anywhere. `proven`: it comes because
        it is read, and is not on probation."""
        entry = self._catalog.entries.get(key)
        holders = entry.holders if entry is not None and entry.kind is Kind.VALUE else ()
        for member in self._homes.get(key, ()):
            if member not in holders and member in self.policies:
                self.policies[member].on_remove(key)
        if not holders or entry is None:
            self._homes.pop(key, None)
            return False
        self._homes[key] = holders
        now_s = self._clock()
        for member in holders:
            policy = self.policy_of(member)
            if policy is None:
                continue
            if what is Noted.STORED or key not in policy:
                policy.on_store(
                    key,
                    entry.nbytes,
                    now_s,
                    priority=entry.priority,
                    pinned=entry.pinned,
                    proven=proven or what is Noted.COPIED,
                )
            elif what is Noted.CHANGED:
                policy.set_priority(key, entry.priority, now_s)
                policy.set_pinned(key, entry.pinned, now_s)
        return True

    def forget(self, member: MemberId) -> None:
        """The member has gone, or has come with whatever it holds."""
        self.policies.pop(member, None)

    def policy_of(self, member: MemberId) -> TierPolicy | None:
        """The policy of a member; None for one that is not there."""
        policy = self.policies.get(member)
        info = self._placement.ready.get(member)
        if policy is None and info is not None:
            policy = TierPolicy(info.tier, info.capacity_bytes, self._migration)
            self.policies[member] = policy
        return policy

    def victims(self, member: MemberId, nbytes: int) -> list[str]:
        """The least valuable keys, of at least so many bytes together; fewer where there are no more."""
        policy, entries = self.policies[member], self._catalog.entries
        keys: list[str] = []
        while nbytes > 0:
            named = policy.victims(nbytes, self._clock())
            if not named:
                break
            found = self.movable(member, named)
            nbytes -= sum(entries[key].nbytes for key in found)
            keys += found
        return keys

    def movable(self, member: MemberId, keys: Iterable[str]) -> list[str]:
        """Those keys that are there and may go. The policy forgets the others."""
        found = []
        for key in keys:
            entry = self._catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or entry.pinned or member not in entry.holders:
                self.policies[member].on_remove(key)
            else:
                found.append(key)
        return found
