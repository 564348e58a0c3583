"""Keys in order, for listing by prefix without looking at all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable


class SortedKeys:
    """A sorted photograph of a growing and shrinking collection of keys.

    Additions wait in a list until somebody asks; then one merge of two sorted runs brings them in.
    Removals are left to the reader, who checks each key against ``alive``; once a half of the photograph
    is dead, it is taken anew. So a listing costs what it returns, and a write costs an append.
    """

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._added: list[str] = []

    def add(self, key: str) -> None:
        self._added.append(key)

    def add_many(self, keys: Iterable[str]) -> None:
        self._added.extend(keys)

    def with_prefix(self, prefix: str, alive: Collection[str]) -> list[str]:
        """The keys of ``alive`` that start with ``prefix``, sorted by code points."""
        self._merge(alive)
        low = bisect_left(self._sorted, prefix)
        high = bisect_right(self._sorted, prefix, low, key=lambda key: key[: len(prefix)])
        return [key for key in self._sorted[low:high] if key in alive]

    def _merge(self, alive: Collection[str]) -> None:
        known = len(self._sorted) + len(self._added)
        if known > 2 * len(alive) + 1024:
            self._sorted = sorted(alive)
            self._added.clear()
        if not self._added:
            return
        self._added.sort()
        self._sorted += self._added
        self._sorted.sort()  # two runs: a merge, linear
        self._added.clear()
        # A key that was removed and added again stands here twice, side by side.
        if len(self._sorted) > len(alive):
            self._sorted = list(dict.fromkeys(self._sorted))
