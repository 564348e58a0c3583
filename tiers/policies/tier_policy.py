"""`TierPolicy`: what leaves one tier and when, with everything that counts: use, age, priority, pins."""

from __future__ import annotations

import math
from bisect import insort
from collections import OrderedDict
from typing import NamedTuple

from ...errors import InvalidValue
from .base import EvictionPolicy
from .migration import MigrationPolicy
from .named import eviction_policy


class Due(NamedTuple):
    """A key that should sink although nobody needs its room, and why: "probation" or "age"."""

    key: str
    reason: str


class _Resident:
    __slots__ = ("last_used_s", "nbytes", "pinned", "priority")

    def __init__(self, nbytes: int, now_s: float, priority: float, pinned: bool) -> None:
        self.nbytes = nbytes
        self.last_used_s = now_s
        self.priority = priority
        self.pinned = pinned


class TierPolicy:
    """Decides for one tier. Keys of a lower priority all leave before those of a higher one; within a
    priority the eviction policy decides; a pinned key never leaves.

    As with `EvictionPolicy`, a key that `victims` or `due` has named is leaving: it is not named again
    until `keep` or a use brings it back. Events for unknown keys are ignored. Pure, with the caller's
    clock; events are O(1) amortised, times the logarithm of the number of distinct priorities.
    Not thread-safe.
    """

    def __init__(self, tier: str, capacity_bytes: int, migration: MigrationPolicy | None = None) -> None:
        self.tier = tier
        self.capacity_bytes = capacity_bytes
        self.migration = migration or MigrationPolicy()
        self.used_bytes = 0
        self._threshold_s = self.migration.threshold_s(tier)
        self._residents: dict[str, _Resident] = {}
        self._levels: dict[float, EvictionPolicy] = {}
        self._priorities: list[float] = []  # of the levels, ascending
        self._by_use: OrderedDict[str, None] = OrderedDict()
        self._on_probation: OrderedDict[str, float] = OrderedDict()  # key -> when it came, in that order

    def __len__(self) -> int:
        return len(self._residents)

    def __contains__(self, key: object) -> bool:
        return key in self._residents

    # -- events

    def on_store(
        self,
        key: str,
        nbytes: int,
        now_s: float,
        *,
        priority: float = 0.0,
        pinned: bool = False,
        proven: bool = False,
    ) -> None:
        """The key came into the tier or was written again. ``proven``: it rose because it is read, so
        there is no probation."""
        if nbytes < 0 or priority != priority:
            raise InvalidValue(f"key {key!r} has nbytes={nbytes} and priority={priority}")
        resident = self._residents.get(key)
        if resident is not None and (resident.priority, resident.pinned) != (priority, pinned):
            self.on_remove(key)
            resident = None
        if resident is None:
            self._residents[key] = _Resident(nbytes, now_s, priority, pinned)
            self.used_bytes += nbytes
        else:
            self.used_bytes += nbytes - resident.nbytes
            resident.nbytes = nbytes
            resident.last_used_s = now_s
        if pinned:
            return
        self._level(priority).on_store(key, nbytes, now_s)
        self._by_use[key] = None
        self._by_use.move_to_end(key)
        self._on_probation.pop(key, None)
        if self.tier == "hot" and not proven:
            self._on_probation[key] = now_s

    def on_access(self, key: str, now_s: float) -> None:
        """The key was read."""
        resident = self._residents.get(key)
        if resident is not None and not resident.pinned:
            resident.last_used_s = now_s
            self._by_use.move_to_end(key)
            self._on_probation.pop(key, None)
            self._levels[resident.priority].on_access(key, now_s)

    def on_remove(self, key: str) -> None:
        """The key is gone from this tier."""
        resident = self._residents.pop(key, None)
        if resident is not None:
            self.used_bytes -= resident.nbytes
            if not resident.pinned:
                self._leave_level(key, resident.priority)
                del self._by_use[key]
                self._on_probation.pop(key, None)

    def keep(self, key: str) -> None:
        """The move of a leaving key failed: it stays, and the next call names it again."""
        resident = self._residents.get(key)
        if resident is not None and not resident.pinned:
            self._levels[resident.priority].keep(key)

    def set_priority(self, key: str, priority: float, now_s: float) -> None:
        """Change the priority of a key; what the eviction policy had learned of it is forgotten."""
        if priority != priority:
            raise InvalidValue(f"the priority of {key!r} is not a number")
        resident = self._residents.get(key)
        if resident is None or resident.priority == priority:
            return
        if not resident.pinned:
            self._leave_level(key, resident.priority)
            self._level(priority).on_store(key, resident.nbytes, now_s)
        resident.priority = priority

    def set_pinned(self, key: str, pinned: bool, now_s: float) -> None:
        """Pin a key, or let it go again (which counts as a use; in hot it is on probation anew)."""
        resident = self._residents.get(key)
        if resident is None or resident.pinned == pinned:
            return
        resident.pinned = pinned
        if pinned:
            self._leave_level(key, resident.priority)
            del self._by_use[key]
            self._on_probation.pop(key, None)
        else:
            resident.last_used_s = now_s
            self._by_use[key] = None
            self._level(resident.priority).on_store(key, resident.nbytes, now_s)
            if self.tier == "hot":
                self._on_probation[key] = now_s

    # -- decisions

    @property
    def leaving_bytes(self) -> int:
        """Bytes of the keys that were named and have not gone yet."""
        return sum(level.leaving_bytes for level in self._levels.values())

    def bytes_to_free(self, incoming_bytes: int = 0) -> int:
        """How many bytes have to sink before ``incoming_bytes`` more may come, by the watermarks. What is
        leaving already counts as gone."""
        staying = self.used_bytes - self.leaving_bytes
        return self.migration.bytes_to_free(staying, self.capacity_bytes, incoming_bytes)

    def admits(self, nbytes: int) -> bool:
        """Whether a value of this size should rise into this tier when it is read below."""
        return self._level(0.0).admits(nbytes)

    def victims(self, bytes_needed: int, now_s: float) -> list[str]:
        """The least valuable keys whose bytes are together at least ``bytes_needed``, or all that may go."""
        named: list[str] = []
        found = 0
        for priority in self._priorities:
            if found >= bytes_needed:
                break
            level = self._levels[priority]
            for key in level.victims(bytes_needed - found, now_s):
                named.append(key)
                found += level.size_of(key)
        return named

    def due(self, now_s: float, limit: int | None = None) -> list[Due]:
        """Keys whose probation ended unread, and keys that were not used for the threshold of the tier."""
        named: list[Due] = []
        for key, since_s in self._on_probation.items():
            if since_s + self.migration.probation_s > now_s or len(named) == limit:
                break
            self._name(key, "probation", named)
        for key in self._by_use:
            if self._residents[key].last_used_s + self._threshold_s > now_s or len(named) == limit:
                break
            self._name(key, "age", named)
        return named

    def next_due_s(self) -> float:
        """The earliest time at which `due` may have something to say; infinity while nothing can be due."""
        times = [math.inf]
        if self._on_probation:
            times.append(next(iter(self._on_probation.values())) + self.migration.probation_s)
        if self._by_use:
            times.append(self._residents[next(iter(self._by_use))].last_used_s + self._threshold_s)
        return min(times)

    def _name(self, key: str, reason: str, named: list[Due]) -> None:
        level = self._levels[self._residents[key].priority]
        if not level.is_leaving(key):
            level.take(key)
            named.append(Due(key, reason))

    # -- levels

    def _level(self, priority: float) -> EvictionPolicy:
        level = self._levels.get(priority)
        if level is None:
            level = eviction_policy(self.migration.eviction, self.capacity_bytes)
            self._levels[priority] = level
            insort(self._priorities, priority)
        return level

    def _leave_level(self, key: str, priority: float) -> None:
        level = self._levels[priority]
        level.on_remove(key)
        # The common level stays for what it remembers of keys that left; the others may be many.
        if priority and not len(level):
            del self._levels[priority]
            self._priorities.remove(priority)
