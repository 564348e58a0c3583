"""Which slots hold a row, under which handle, and in which order they were written.

As long as rows leave in insertion order, or newest first, the live slots are one segment of a ring and
two integers describe them. The first removal from the middle builds the general form: a dense set of
live slots, a stack of free ones, and a log of insertions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .handles import HandleLayout, Handles, Slots
from .index_set import IndexSet, uniform_integers


class SlotTable:
    """Hands out slots and their handles. Not thread-safe: the buffer's lock guards it.

    ``handles[slot]`` is the handle of the row in the slot, or, where the slot is empty, the bitwise
    complement (negative) of the last one that it had, so generations go on across removals.
    """

    def __init__(self, capacity: int, shard: int = 0) -> None:
        self.capacity = capacity
        self.layout = HandleLayout(capacity, shard)
        self.handles: Handles = ~self.layout.first(capacity)
        self.count = 0
        self.head = 0  # ring form: the oldest row's slot
        # While slots are used strictly in turn, neighbours are of one generation (but for the wrap).
        self._even = True
        self._general: _GeneralForm | None = None
        self.is_ring = True  # whether `_general` is None, for those who ask at every insert

    # -- writing -----------------------------------------------------------------------------------

    def take_one(self) -> int:
        """A slot for one new row in ring form; a full ring gives up its oldest row."""
        slot = self.head + self.count
        if slot >= self.capacity:
            slot -= self.capacity
        if self.count < self.capacity:
            self.count += 1
        else:
            self.head = slot + 1 if slot + 1 < self.capacity else 0
        handle = int(self.handles[slot])
        self.handles[slot] = (handle if handle >= 0 else ~handle) + self.layout.step
        return slot

    def take(self, count: int) -> tuple[Slots, slice | Slots, Handles]:
        """Slots for ``count`` new rows, 1 to ``capacity``; a full ring gives up its oldest rows.

        Returns the slots in order, the same as an index (a slice where they follow one another), and the
        new handles. In general form there must be that many free slots.
        """
        if self._general is not None:
            slots = self._general.take_free(count)
            fresh = self._next_generation(slots)
            self._general.insert(slots, fresh)
            self.count += count
            return slots, slots, fresh
        capacity = self.capacity
        start = self.head + self.count
        if start >= capacity:
            start -= capacity
        room = capacity - self.count
        if count > room:
            self.head = (self.head + count - room) % capacity
            self.count = capacity
        else:
            self.count += count
        stop = start + count
        slots = np.arange(start, stop)
        if stop > capacity:
            slots[capacity - start :] -= capacity
            return slots, slots, self._next_generation(slots)
        where = slice(start, stop)
        if not self._even:
            return slots, where, self._next_generation(where)
        handle = self.handles.item(start)
        handle = (handle if handle >= 0 else ~handle) + self.layout.step
        fresh = np.arange(handle, handle + count)
        self.handles[where] = fresh
        return slots, where, fresh

    def _next_generation(self, where: slice | Slots) -> Handles:
        """Write and return the handles of new rows in these slots."""
        last = self.handles[where]
        fresh: Handles = (last ^ (last >> 63)) + self.layout.step  # ~x where x is negative (empty), else x
        self.handles[where] = fresh
        return fresh

    def release(self, slots: Slots) -> None:
        """Empty these live slots (each named once)."""
        if slots.size == 0:
            return
        if self._general is None and not self._release_from_ring(slots):
            self._general = _GeneralForm(self)
            self.is_ring = False
            self._even = False
        if self._general is not None:
            self._general.remove(slots)
            self.count -= slots.size
        self.handles[slots] = ~self.handles[slots]
        if self.count == 0:
            self._general = None
            self.is_ring = True
            self.head = 0
            self._even = False  # the next turn begins at slot 0, wherever the last one ended

    def _release_from_ring(self, slots: Slots) -> bool:
        """Shorten the ring if ``slots`` are its oldest or its newest rows; tells whether they were."""
        n = int(slots.size)
        first = int(slots[0])
        if first == self.head and np.array_equal(slots, self.oldest(n)):
            self.head = (self.head + n) % self.capacity
        elif np.array_equal(slots, self.newest(n)):
            self._even = False
        else:
            return False
        self.count -= n
        return True

    # -- reading -----------------------------------------------------------------------------------

    def resolve(self, handles: Handles) -> tuple[Slots, NDArray[np.bool_]]:
        """The slot of each handle and whether its row is still there (False also for foreign handles)."""
        slots = handles & self.layout.slot_mask
        if self.capacity <= self.layout.slot_mask:  # the slot bits can name slots that do not exist
            slots = np.minimum(slots, self.capacity - 1)
        return slots, (self.handles.take(slots) == handles) & (handles >= 0)

    def oldest(self, count: int) -> Slots:
        """The ``count`` oldest rows' slots, oldest first (fewer if there are fewer)."""
        if self._general is not None:
            return self._general.oldest(count)
        return self._ring_slots(0, min(count, self.count))

    def newest(self, count: int) -> Slots:
        """The ``count`` newest rows' slots, newest first (fewer if there are fewer)."""
        if self._general is not None:
            return self._general.newest(count)
        count = min(count, self.count)
        return self._ring_slots(self.count - count, self.count)[::-1]

    def live(self) -> Slots:
        """All live slots, oldest first."""
        return self.oldest(self.count)

    def draw(self, count: int, rng: np.random.Generator) -> Slots:
        """``count`` live slots, uniformly, with replacement. There must be one."""
        if self._general is not None:
            return self._general.live.draw(count, rng)
        slots = uniform_integers(self.count, count, rng)
        if self.head:
            if self.count == self.capacity:
                return slots  # every slot is live: no need to start at the head
            slots += self.head
            slots[slots >= self.capacity] -= self.capacity
        return slots

    def _ring_slots(self, start: int, stop: int) -> Slots:
        slots = np.arange(self.head + start, self.head + stop)
        slots[slots >= self.capacity] -= self.capacity
        return slots

    # -- checkpoints -------------------------------------------------------------------------------

    def export_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Plain values and arrays (copies) from which `import_state` makes an equal table."""
        values = {
            "capacity": self.capacity,
            "shard": self.layout.shard,
            "count": self.count,
            "head": self.head,
            "even": self._even,
        }
        arrays: dict[str, NDArray[Any]] = {"handles": self.handles.copy()}
        if self._general is not None:
            arrays |= {
                "live": self._general.live.members().copy(),
                "order": self._general.oldest(self.count),
                "free": self._general.free_slots().copy(),
            }
        return values, arrays

    def import_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.handles[:] = arrays["handles"]
        self.count = int(values["count"])
        self.head = int(values["head"])
        self._even = bool(values["even"])
        self._general = None
        self.is_ring = "order" not in arrays
        if "order" in arrays:
            self._general = _GeneralForm(self, arrays["live"], arrays["order"], arrays["free"])


class _GeneralForm:
    """Live set, free stack and insertion log, for tables with holes."""

    def __init__(
        self,
        table: SlotTable,
        live: Slots | None = None,
        order: Slots | None = None,
        free: Slots | None = None,
    ) -> None:
        self._handles = table.handles
        self._mask = table.layout.slot_mask
        if order is None:
            order = table.live()
        self.live = IndexSet(table.capacity)
        self.live.replace_members(order if live is None else live)
        if free is None:
            free = np.flatnonzero(~self.live.contains(np.arange(table.capacity)))[::-1]
        self._free = np.empty(table.capacity, dtype=np.int64)
        self._free[: free.size] = free
        self._free_count = int(free.size)
        # Entries of rows that have left stay in the log until it is full: then they are swept out.
        self._log = np.empty(2 * table.capacity, dtype=np.int64)
        self._log[: order.size] = self._handles[order]
        self._start, self._end = 0, int(order.size)

    def free_slots(self) -> Slots:
        return self._free[: self._free_count]

    def take_free(self, count: int) -> Slots:
        self._free_count -= count
        return self._free[self._free_count : self._free_count + count][::-1].copy()

    def insert(self, slots: Slots, handles: Handles) -> None:
        self.live.insert(slots)
        if self._end + slots.size > self._log.size:
            entries = self._log[self._start : self._end]
            kept = entries[self._is_current(entries)]
            self._start, self._end = 0, int(kept.size)
            self._log[: kept.size] = kept
        self._log[self._end : self._end + slots.size] = handles
        self._end += int(slots.size)

    def remove(self, slots: Slots) -> None:
        self.live.remove(slots)
        self._free[self._free_count : self._free_count + slots.size] = slots[::-1]
        self._free_count += int(slots.size)

    def oldest(self, count: int) -> Slots:
        found: list[Slots] = []
        at, missing = self._start, min(count, len(self.live))
        while missing > 0:
            chunk = self._log[at : min(at + max(2 * missing, 64), self._end)]
            current = np.flatnonzero(self._is_current(chunk))[:missing]
            if not found and current.size == 0:
                self._start = at + chunk.size  # all stale: never look at them again
            found.append(chunk[current] & self._mask)
            missing -= current.size
            at += chunk.size
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def newest(self, count: int) -> Slots:
        found: list[Slots] = []
        at, missing = self._end, min(count, len(self.live))
        while missing > 0:
            chunk = self._log[max(at - max(2 * missing, 64), self._start) : at][::-1]
            current = np.flatnonzero(self._is_current(chunk))[:missing]
            if not found and current.size == 0:
                self._end = at - chunk.size
            found.append(chunk[current] & self._mask)
            missing -= current.size
            at -= chunk.size
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def _is_current(self, entries: Handles) -> NDArray[np.bool_]:
        current: NDArray[np.bool_] = self._handles[entries & self._mask] == entries
        return current
