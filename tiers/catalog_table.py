"""`CatalogTable`: the columns of a catalog, the row of each key, and the bytes of each location."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import KeyNotFound
from .catalog_entry import Entry
from .catalog_inventory import Clients, Inventory, Kind
from .catalog_rows import CatalogRows
from .location_sets import EMPTY, Location, LocationSets
from .record import Version
from .sorted_keys import SortedKeys

RowArray = npt.NDArray[np.int64]


class CatalogTable:
    """The machinery under `Catalog`; not to be used by itself."""

    def __init__(self) -> None:
        self._rows = CatalogRows()
        self._row_of: dict[str, int] = {}
        self._keys: list[str | None] = []
        self._free: list[int] = []
        self._sets = LocationSets()
        self._order = SortedKeys()
        self._client_names: list[str] = [""]
        self._client_codes: dict[str, int] = {}
        self._several_clients: dict[int, Clients] = {}
        self._used_bytes: dict[Location, int] = {}
        self._held_counts: dict[Location, int] = {}

    def _row(self, key: str) -> int:
        row = self._row_of.get(key)
        if row is None:
            raise KeyNotFound(f"the catalog has no entry for key {key!r}")
        return row

    def _entry(self, key: str, row: int) -> Entry:
        rows = self._rows
        expires_s: float = rows.expires_cells[row]
        return Entry(
            key=key,
            version=Version(rows.epoch_cells[row], rows.sequence_cells[row]),
            kind=Kind(rows.kind_cells[row]),
            nbytes=rows.nbytes_cells[row],
            holders=self._sets[rows.holders_cells[row]],
            marks=self._sets[rows.marks_cells[row]],
            priority=rows.priority_cells[row],
            pinned=rows.pinned_cells[row],
            expires_s=None if expires_s == math.inf else expires_s,
            created_s=rows.created_cells[row],
            last_access_s=rows.last_access_cells[row],
            access_count=rows.access_count_cells[row],
            clients=self._clients_of(row),
        )

    def _new_row(self, key: str) -> int:
        if self._free:
            row = self._free.pop()
            self._keys[row] = key
        else:
            row = self._rows.append(1)
            self._keys.append(key)
        self._rows.used_cells[row] = True
        self._row_of[key] = row
        self._order.add(key)
        return row

    def _forget_rows(self, places: RowArray) -> None:
        rows = self._rows
        for row in places.tolist():
            self._count(rows.holders_cells[row], -rows.nbytes_cells[row], -1)
            self._set_clients(row, ())
            self._keys[row] = None
            self._free.append(row)
        rows.used[places] = False
        rows.holders[places] = EMPTY
        rows.marks[places] = EMPTY
        rows.nbytes[places] = 0
        rows.last_access_s[places] = 0.0
        rows.access_count[places] = 0

    def _clients_of(self, row: int) -> Clients:
        code = self._rows.client_cells[row]
        if code < 0:
            return self._several_clients[row]
        return ((self._client_names[code], self._rows.client_sequence_cells[row]),) if code else ()

    def _set_clients(self, row: int, clients: Clients) -> None:
        # Nearly every key has one writer: that one is two columns, several are a tuple.
        rows = self._rows
        if rows.client_cells[row] < 0:
            del self._several_clients[row]
        if len(clients) == 1:
            name, sequence = clients[0]
            code = self._client_codes.get(name)
            if code is None:
                code = self._client_codes[name] = len(self._client_names)
                self._client_names.append(name)
            rows.client_cells[row] = code
            rows.client_sequence_cells[row] = sequence
        elif clients:
            rows.client_cells[row] = -1
            self._several_clients[row] = clients
        else:
            rows.client_cells[row] = 0

    def _set_clients_of_many(self, rows: list[int], places: list[int], inventory: Inventory) -> None:
        if inventory.clients:
            for row, place in zip(rows, places, strict=True):
                self._set_clients(row, inventory.clients[place])
        elif len(self._client_names) > 1 or self._several_clients:
            for row in rows:
                self._set_clients(row, ())

    def _at(self, column: npt.NDArray[np.int32], location: Location) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._sets.codes_holding(location)[column[: self._rows.count]]
        return found

    def _of_kind(self, keys: list[str], kind: Kind | None) -> Iterator[str]:
        for key in keys:
            row = self._row_of.get(key)
            if row is not None and (kind is None or self._rows.kind_cells[row] == kind):
                yield key

    def _named(self, rows: npt.NDArray[Any]) -> list[str]:
        keys = self._keys
        return [key for row in rows.tolist() if (key := keys[row]) is not None]

    def _count(self, holders: int, nbytes: int, keys: int) -> None:
        for location in self._sets[holders]:
            self._count_one(location, nbytes, keys)

    def _count_one(self, location: Location, nbytes: int, keys: int) -> None:
        self._used_bytes[location] = self._used_bytes.get(location, 0) + nbytes
        self._held_counts[location] = self._held_counts.get(location, 0) + keys


def united(left: Clients, right: Clients) -> Clients:
    """The higher mark of each client, in the order in which they were first seen."""
    if left == right or not right:
        return left
    marks = dict(left)
    for client, sequence in right:
        if marks.get(client, -1) < sequence:
            marks[client] = sequence
    return tuple(marks.items())
