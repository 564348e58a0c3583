"""What a catalog says of a key."""

from __future__ import annotations

from dataclasses import dataclass

from .catalog_inventory import Clients, Kind
from .location_sets import Location
from .record import Version


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalog knew of a key when it was asked.

    ``holders`` have the value in this version; ``marks`` have a tombstone or a superseded mark for it.
    Times are seconds of the caller's clock; ``last_access_s`` is 0 until the first access.
    """

    key: str
    version: Version
    kind: Kind
    nbytes: int
    holders: frozenset[Location]
    marks: frozenset[Location]
    priority: float
    pinned: bool
    expires_s: float | None
    created_s: float
    last_access_s: float
    access_count: int
    clients: Clients

    def seen(self, client: str) -> int:
        """The highest request sequence of this client that changed the key; -1 for none."""
        return dict(self.clients).get(client, -1)

    @property
    def last_used_s(self) -> float:
        """When the key was read last, or created if it never was."""
        return max(self.created_s, self.last_access_s)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A copy older than what the catalog has: ``location`` should drop it."""

    key: str
    location: Location
