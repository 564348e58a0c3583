"""`RiseOnRead`: when data that is read in a slow tier should come back to a faster one."""

from __future__ import annotations

from collections import OrderedDict

from .migration import MigrationPolicy


class RiseOnRead:
    """Counts the reads of keys below: a key rises when ``reads_to_rise`` fall within ``rise_window_s``.

    One read is not enough by default, so a scan of the cold tier does not flush the warm one. Remembers
    the ``most_keys`` that were read last. Pure, O(1) an event, not thread-safe.
    """

    def __init__(self, migration: MigrationPolicy | None = None, most_keys: int = 65_536) -> None:
        self._migration = migration or MigrationPolicy()
        self._most_keys = most_keys
        self._reads: OrderedDict[str, tuple[int, float]] = OrderedDict()  # key -> reads, time of the first

    def on_access(self, key: str, now_s: float) -> bool:
        """The key was read; whether it should rise now. After a yes the count begins anew."""
        reads, first_s = self._reads.pop(key, (0, now_s))
        if now_s - first_s > self._migration.rise_window_s:
            reads, first_s = 0, now_s
        if reads + 1 >= self._migration.reads_to_rise:
            return True
        self._reads[key] = (reads + 1, first_s)
        if len(self._reads) > self._most_keys:
            self._reads.popitem(last=False)
        return False

    def on_remove(self, key: str) -> None:
        """The key was deleted or has risen."""
        self._reads.pop(key, None)
