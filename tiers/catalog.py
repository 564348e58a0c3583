"""`Catalog`: where every key is, in which version, and how it is used. An index that can be rebuilt.

The locations (tiers on nodes) are the truth. A catalog is filled from their inventories with `load`, kept
by `put`, `add_holder` and their kin, and thrown away with its process. It decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import ConflictingWrite, InvalidType, InvalidValue
from .catalog_entry import Entry, Outdated
from .catalog_inventory import Clients, Inventory, Kind
from .catalog_table import CatalogTable, RowArray, united
from .location_sets import EMPTY, Location
from .record import Version

__all__ = ["Catalog", "Entry", "Outdated"]

_MAX_COUNT = 2**32 - 1


class Catalog(CatalogTable):
    """Entries by key, in columns: about 220 bytes a key, keys included.

    The bytes of a location are those of the values that it holds; marks count as nothing. Every method
    that raises has changed nothing. Not thread-safe: the coordinator has one thread.
    """

    # -- one key

    def __len__(self) -> int:
        """Keys with an entry of any kind, tombstones included."""
        return len(self._row_of)

    def __contains__(self, key: object) -> bool:
        return key in self._row_of

    def get(self, key: str) -> Entry | None:
        """The entry of a key, of whatever kind; None where there is none."""
        row = self._row_of.get(key)
        return None if row is None else self._entry(key, row)

    def __getitem__(self, key: str) -> Entry:
        return self._entry(key, self._row(key))

    def version(self, key: str) -> Version | None:
        """The version of a key without the rest of its entry."""
        row = self._row_of.get(key)
        if row is None:
            return None
        return Version(self._rows.epoch_cells[row], self._rows.sequence_cells[row])

    def holders(self, key: str) -> frozenset[Location]:
        """Who has the value in its current version; empty for an unknown key."""
        row = self._row_of.get(key)
        return frozenset() if row is None else self._sets[self._rows.holders_cells[row]]

    def put(
        self,
        key: str,
        version: Version,
        *,
        nbytes: int = 0,
        holders: Iterable[Location] = (),
        marks: Iterable[Location] = (),
        kind: Kind = Kind.VALUE,
        priority: float = 0.0,
        pinned: bool = False,
        expires_s: float | None = None,
        created_s: float = 0.0,
        clients: Clients = (),
    ) -> frozenset[Location]:
        """Let this be what is known of the key; its access statistics stay.

        Returns the locations of the entry before that are neither holders nor marks now: what they have is
        outdated. Raises `ConflictingWrite` if the catalog knows a newer version.
        """
        if not isinstance(key, str):
            raise InvalidType(f"keys are strings, not {type(key).__name__}: {key!r}")
        if nbytes < 0 or priority != priority:
            raise InvalidValue(f"entry {key!r} has nbytes={nbytes} and priority={priority}")
        row = self._row_of.get(key)
        rows = self._rows
        if row is not None and (rows.epoch_cells[row], rows.sequence_cells[row]) > version:
            known = Version(rows.epoch_cells[row], rows.sequence_cells[row])
            raise ConflictingWrite(
                f"key {key!r} has version {known}, newer than {version}; the older write lost"
            )
        before: frozenset[Location] = frozenset()
        if row is None:
            row = self._new_row(key)
            rows = self._rows
        else:
            before = self._sets[rows.holders_cells[row]] | self._sets[rows.marks_cells[row]]
            self._count(rows.holders_cells[row], -rows.nbytes_cells[row], -1)
        holder_code, mark_code = self._sets.code_of(holders), self._sets.code_of(marks)
        rows.epoch_cells[row], rows.sequence_cells[row] = version
        rows.kind_cells[row] = int(kind)
        rows.nbytes_cells[row] = nbytes
        rows.holders_cells[row] = holder_code
        rows.marks_cells[row] = mark_code
        rows.priority_cells[row] = priority
        rows.pinned_cells[row] = pinned
        rows.expires_cells[row] = math.inf if expires_s is None else expires_s
        rows.created_cells[row] = created_s
        self._set_clients(row, clients)
        self._count(holder_code, nbytes, 1)
        return before - self._sets[holder_code] - self._sets[mark_code]

    def add_holder(self, key: str, location: Location, version: Version) -> bool:
        """The location has the value in ``version`` (and no mark for it any more).

        False, and nothing changed, where the entry is gone or of another version: the copy is outdated.
        """
        row = self._row_of.get(key)
        if row is None or self.version(key) != version:
            return False
        rows = self._rows
        rows.marks_cells[row] = self._sets.without(rows.marks_cells[row], location)
        if location not in self._sets[rows.holders_cells[row]]:
            rows.holders_cells[row] = self._sets.with_one(rows.holders_cells[row], location)
            self._count_one(location, rows.nbytes_cells[row], 1)
        if rows.kind_cells[row] == Kind.SUPERSEDED:
            rows.kind_cells[row] = int(Kind.VALUE)
        return True

    def remove_holder(self, key: str, location: Location) -> None:
        """The location does not have the value any more. Unknown keys and locations are ignored."""
        row = self._row_of.get(key)
        if row is not None and location in self._sets[self._rows.holders_cells[row]]:
            cells = self._rows.holders_cells
            cells[row] = self._sets.without(cells[row], location)
            self._count_one(location, -self._rows.nbytes_cells[row], -1)

    def add_mark(self, key: str, location: Location) -> None:
        """The location has a tombstone or a superseded mark for the key."""
        cells = self._rows.marks_cells
        row = self._row(key)
        cells[row] = self._sets.with_one(cells[row], location)

    def remove_mark(self, key: str, location: Location) -> None:
        row = self._row_of.get(key)
        if row is not None:
            cells = self._rows.marks_cells
            cells[row] = self._sets.without(cells[row], location)

    def remove(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        row = self._row_of.pop(key, None)
        if row is None:
            return False
        self._forget_rows(np.array([row], np.int64))
        return True

    # -- use

    def touch(self, key: str, now_s: float) -> None:
        """The key was read. Unknown keys are ignored: statistics never fail a read."""
        row = self._row_of.get(key)
        if row is not None:
            rows = self._rows
            if rows.last_access_cells[row] < now_s:
                rows.last_access_cells[row] = now_s
            if rows.access_count_cells[row] < _MAX_COUNT:
                rows.access_count_cells[row] += 1

    def change(
        self,
        key: str,
        *,
        priority: float | None = None,
        pinned: bool | None = None,
        expires_s: float | None = None,
    ) -> None:
        """Change what is given; ``expires_s=math.inf`` takes the time to live away."""
        row = self._row(key)
        if priority is not None:
            if priority != priority:
                raise InvalidValue(f"the priority of {key!r} is not a number")
            self._rows.priority_cells[row] = priority
        if pinned is not None:
            self._rows.pinned_cells[row] = pinned
        if expires_s is not None:
            self._rows.expires_cells[row] = expires_s

    # -- many keys

    def keys(self, prefix: str = "", kind: Kind | None = Kind.VALUE) -> Iterator[str]:
        """Keys that start with ``prefix``, sorted, of one kind (None: of all). The catalog may change
        while they are read: keys that came later are left out, keys that went are skipped."""
        return self._of_kind(self._order.with_prefix(prefix, self._row_of.keys()), kind)

    def keys_at(self, location: Location, *, marks: bool = False) -> list[str]:
        """Keys whose value the location holds; with ``marks=True`` those that it has a mark for."""
        column = self._rows.marks if marks else self._rows.holders
        return self._named(np.flatnonzero(self._at(column, location)))

    def expired(self, now_s: float, limit: int | None = None) -> list[str]:
        """Keys whose time to live has run out, the earliest first."""
        count = self._rows.count
        rows = np.flatnonzero(self._rows.used[:count] & (self._rows.expires_s[:count] <= now_s))
        rows = rows[np.argsort(self._rows.expires_s[rows], kind="stable")]
        return self._named(rows[:limit])

    def without_holders(self) -> list[str]:
        """Keys that should have a value and have no holder: lost, unless a holder comes back."""
        count = self._rows.count
        alive = self._rows.used[:count] & (self._rows.kind[:count] != Kind.TOMBSTONE)
        return self._named(np.flatnonzero(alive & (self._rows.holders[:count] == EMPTY)))

    def locations(self) -> list[Location]:
        """Locations that hold at least one value, sorted."""
        return sorted(location for location, count in self._held_counts.items() if count)

    def used_bytes(self, location: Location) -> int:
        return self._used_bytes.get(location, 0)

    def held_count(self, location: Location) -> int:
        """How many values the location holds."""
        return self._held_counts.get(location, 0)

    def remove_location(self, location: Location) -> list[str]:
        """Forget all that the location holds. Returns the keys whose last holder it was."""
        rows, count = self._rows, self._rows.count
        held = np.flatnonzero(self._at(rows.holders, location))
        rows.holders[held] = self._sets.map_with(rows.holders[held], location, adds=False)
        marked = np.flatnonzero(self._at(rows.marks, location))
        rows.marks[marked] = self._sets.map_with(rows.marks[marked], location, adds=False)
        self._used_bytes.pop(location, None)
        self._held_counts.pop(location, None)
        assert count == rows.count
        return self._named(held[rows.holders[held] == EMPTY])

    def load(self, location: Location, inventory: Inventory) -> list[Outdated]:
        """Take in all that a location holds; the highest version of each key wins.

        Where the inventory's version is newer, the entry becomes what the inventory says, held by this
        location alone; where it is the same, the location is added; where it is older, nothing changes.
        Returns the copies that are outdated now, of this location and of others. Access statistics stay.
        """
        keys = inventory.keys
        find = self._row_of.get
        places = np.fromiter((find(key, -1) for key in keys), np.int64, len(keys))
        fresh = np.flatnonzero(places < 0)
        if len(fresh):
            first = self._rows.append(len(fresh))
            added = [keys[place] for place in fresh.tolist()]
            self._row_of.update(zip(added, range(first, first + len(fresh)), strict=True))
            self._keys.extend(added)
            self._order.add_many(added)
            places[fresh] = np.arange(first, first + len(fresh))
            # Older than any version there is, so that the comparison below takes them for outdated.
            self._rows.epoch[places[fresh]] = -1
            self._rows.used[places[fresh]] = True
        rows = self._rows
        epochs, sequences = rows.epoch[places], rows.sequence[places]
        newer = (inventory.epochs > epochs) | (
            (inventory.epochs == epochs) & (inventory.sequences > sequences)
        )
        same = (inventory.epochs == epochs) & (inventory.sequences == sequences)
        outdated = [Outdated(keys[place], location) for place in np.flatnonzero(~newer & ~same).tolist()]
        outdated += self._replace(location, inventory, np.flatnonzero(newer), places)
        self._join(location, inventory, np.flatnonzero(same), places)
        return outdated

    # -- parts of load

    def _replace(
        self, location: Location, inventory: Inventory, chosen: RowArray, places: RowArray
    ) -> list[Outdated]:
        """Let rows become what the inventory says; returns what their holders and marks had before."""
        rows, at = self._rows, places[chosen]
        outdated = []
        for place in np.flatnonzero((rows.holders[at] != EMPTY) | (rows.marks[at] != EMPTY)).tolist():
            row = int(at[place])
            key = inventory.keys[int(chosen[place])]
            had = self._sets[rows.holders_cells[row]] | self._sets[rows.marks_cells[row]]
            outdated += [Outdated(key, other) for other in sorted(had) if other != location]
            self._count(rows.holders_cells[row], -rows.nbytes_cells[row], -1)
        is_value = inventory.kinds[chosen] == Kind.VALUE
        rows.epoch[at] = inventory.epochs[chosen]
        rows.sequence[at] = inventory.sequences[chosen]
        rows.kind[at] = inventory.kinds[chosen]
        rows.nbytes[at] = inventory.sizes[chosen]
        alone = self._sets.code_of((location,))
        rows.holders[at] = np.where(is_value, alone, EMPTY)
        rows.marks[at] = np.where(is_value, EMPTY, alone)
        rows.priority[at] = inventory.priorities[chosen]
        rows.pinned[at] = inventory.pinned[chosen]
        rows.expires_s[at] = inventory.expires_s[chosen]
        rows.created_s[at] = inventory.created_s[chosen]
        self._set_clients_of_many(at.tolist(), chosen.tolist(), inventory)
        held = int(np.count_nonzero(is_value))
        self._count_one(location, int(inventory.sizes[chosen][is_value].sum()), held)
        return outdated

    def _join(self, location: Location, inventory: Inventory, chosen: RowArray, places: RowArray) -> None:
        """Add the location to rows that have the inventory's version."""
        rows, at = self._rows, places[chosen]
        is_value = inventory.kinds[chosen] == Kind.VALUE
        marked = at[~is_value]
        rows.marks[marked] = self._sets.map_with(rows.marks[marked], location, adds=True)
        held = at[is_value]
        # A superseded mark may have been read first; the size and the kind are those of the value.
        sizes = inventory.sizes[chosen][is_value]
        differing = rows.nbytes[held] != sizes
        for row, size in zip(held[differing].tolist(), sizes[differing].tolist(), strict=True):
            self._count(rows.holders_cells[row], size - rows.nbytes_cells[row], 0)
            rows.nbytes_cells[row] = size
        joining = held[~self._sets.codes_holding(location)[rows.holders[held]]]
        rows.holders[joining] = self._sets.map_with(rows.holders[joining], location, adds=True)
        rows.kind[held] = np.where(rows.kind[held] == Kind.SUPERSEDED, Kind.VALUE, rows.kind[held])
        self._count_one(location, int(rows.nbytes[joining].sum()), len(joining))
        if inventory.clients:
            for place, row in zip(chosen.tolist(), at.tolist(), strict=True):
                self._set_clients(row, united(self._clients_of(row), inventory.clients[place]))
