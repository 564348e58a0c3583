"""`LargeKeys`: the largest values of a catalog, found by looking at some of it at a time."""

from __future__ import annotations

import heapq

from .core.catalog import Catalog
from .core.model import Kind

ENTRIES_A_LOOK = 4096
"""About a millisecond. A catalog of no more is known exactly at each look."""
KEPT = 32


class LargeKeys:
    """Goes round the catalog, and keeps the largest of this round and of the last. Not thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._round: list[str] = []
        self._place = 0
        self._found: list[tuple[int, str]] = []
        self._known: list[str] = []

    def look(self) -> None:
        """Look at the next part of the catalog."""
        entries = self._catalog.entries
        if self._place >= len(self._round):
            self._round = list(entries)
            self._place = 0
            self._found = []
        part = self._round[self._place : self._place + ENTRIES_A_LOOK]
        self._place += len(part)
        sizes = [
            (entry.nbytes, key)
            for key in part
            if (entry := entries.get(key)) is not None and entry.kind is Kind.VALUE
        ]
        self._found = heapq.nlargest(KEPT, [*self._found, *sizes])
        if self._place >= len(self._round):
            self._known = [key for _, key in self._found]

    def largest(self, number: int) -> list[str]:
        """The keys of the largest values, of those that are there now."""
        entries = self._catalog.entries
        candidates = {*self._known, *(key for _, key in self._found)}
        living = [
            (entry.nbytes, key)
            for key in candidates
            if (entry := entries.get(key)) is not None and entry.kind is Kind.VALUE
        ]
        return [key for _, key in heapq.nlargest(number, living)]
