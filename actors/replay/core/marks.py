"""Which numbered batches a shard has taken: what makes inserting exactly-once."""

from __future__ import annotations

from typing import Any

WriterKey = tuple[str, int]
"""A writer, and the logical shard that its batch was numbered for."""

MAX_WRITERS = 65_536


class Marks:
    """For each (writer, logical shard) the number below which everything is taken, and what lies above.

    Every batch says the lowest number its writer has no answer for (its floor), so nothing is kept of a
    writer but what came after its oldest batch without an answer. Writers that were silent longest are
    forgotten first, far beyond any number of writers that are alive.
    """

    def __init__(self) -> None:
        self._low: dict[WriterKey, int] = {}
        self._above: dict[WriterKey, set[int]] = {}

    def __contains__(self, batch: tuple[str, int, int]) -> bool:
        writer, logical, number = batch
        key = (writer, logical)
        return number <= self._low.get(key, 0) or number in self._above.get(key, ())

    def add(self, writer: str, logical: int, number: int, floor: int) -> None:
        """The batch is taken, and all below `floor` were answered."""
        key = (writer, logical)
        low = max(self._low.pop(key, 0), floor - 1)
        above = self._above.get(key)
        if above is None:
            if number == low + 1:
                self._low[key] = number  # the usual case: in order
                self._forget_oldest()
                return
            above = self._above[key] = set()
        above.add(number)
        while low + 1 in above:
            low += 1
            above.discard(low)
        for taken in [n for n in above if n <= low]:
            above.discard(taken)
        if not above:
            del self._above[key]
        self._low[key] = low
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._low) > MAX_WRITERS:
            key = next(iter(self._low))
            del self._low[key]
            self._above.pop(key, None)

    def export(self) -> list[list[Any]]:
        """Plain values (as JSON has them), oldest writer first."""
        return [[w, s, low, sorted(self._above.get((w, s), ()))] for (w, s), low in self._low.items()]

    def merge(self, exported: list[list[Any]]) -> None:
        """Take over what another shard has taken. Marks that are here as well keep the union."""
        for writer, logical, low, above in exported:
            key = (writer, logical)
            self._low[key] = max(self._low.pop(key, 0), low)
            union = {n for n in {*self._above.pop(key, ()), *above} if n > self._low[key]}
            while self._low[key] + 1 in union:
                self._low[key] += 1
                union.discard(self._low[key])
            if union:
                self._above[key] = union

    def __len__(self) -> int:
        return len(self._low)
