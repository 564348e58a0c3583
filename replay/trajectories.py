"""Which row follows which: episodes inside a buffer that rows enter interleaved and leave piecemeal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from .handles import Slots
from .index_set import IndexSet
from .selector import Rows

END_COLUMNS = ("terminated", "truncated", "done")
_NOWHERE = -1
_BROKEN = -2  # in place of an episode's first row, or a stream's last: rows before the next one are gone


class TrajectoryIndex:
    """Links between the rows of each stream, cut at episode ends and where rows have left.

    A stream is the rows of one environment; within it rows are inserted in time order. ``sequences``
    holds the slots at which a run of ``length`` linked rows begins, ``episodes`` the slots at which an
    episode begins of which every row is stored. Not thread-safe.
    """

    def __init__(
        self, rows: Rows, length: int | None, end_columns: Sequence[str] | None, stream_column: str | None
    ) -> None:
        schema = rows.columns.schema
        if end_columns is None:
            end_columns = [name for name in END_COLUMNS if name in schema]
            if not end_columns:
                raise InvalidValue(
                    f"No column of {list(schema.names)} tells where an episode ends. Name it: "
                    'end_columns=["done"]; or end_columns=[] if the rows are one endless episode.'
                )
        for name in (*end_columns, *([stream_column] if stream_column else [])):
            if name not in schema or schema[name].shape != ():
                raise InvalidValue(f"{name!r} is not a scalar column of the schema {schema}.")
        capacity = rows.slots.capacity
        if length is not None and not 1 <= length <= capacity:
            raise InvalidValue(f"Sequences of {length} rows need 1 <= length <= capacity ({capacity}).")
        self._rows = rows
        self._length = length
        self._end_columns = tuple(end_columns)
        self._stream_column = stream_column
        self.next: Slots = np.full(capacity, _NOWHERE, dtype=np.int64)
        self._previous: Slots = np.full(capacity, _NOWHERE, dtype=np.int64)
        self._position = np.zeros(capacity, dtype=np.int64)  # rows before this one in its episode
        self._first: Slots = np.full(capacity, _NOWHERE, dtype=np.int64)  # handle of the episode's first row
        self._gone = np.zeros(capacity, dtype=np.int64)  # by slot of a first row: rows that have left
        self.episode_length = np.zeros(capacity, dtype=np.int64)  # by slot of a first row, once complete
        self._leaving = np.zeros(capacity, dtype=np.bool_)
        self.sequences = IndexSet(capacity)
        self.episodes = IndexSet(capacity)
        self._stream_ids = np.empty(0, dtype=np.int64)  # sorted
        self._stream_last: Slots = np.empty(0, dtype=np.int64)  # last row of each, if its episode goes on

    # -- rows come and go --------------------------------------------------------------------------

    def insert(self, slots: Slots) -> None:
        """Link new rows, given in insertion order, each slot once."""
        self.remove(slots[self._first[slots] != _NOWHERE])  # rows that were overwritten
        ends = np.zeros(slots.size, dtype=np.bool_)
        for name in self._end_columns:
            ends |= self._rows.columns.views[name][slots].astype(np.bool_)
        streams = self._stream_numbers(slots)
        if self._stream_column is not None:
            order = np.argsort(streams, kind="stable")
            slots, ends, streams = slots[order], ends[order], streams[order]
        # From here on the rows of a stream stand together, in time order.
        n = slots.size
        opens = np.ones(n, dtype=np.bool_)  # first of its stream in this batch
        opens[1:] = streams[1:] != streams[:-1]
        previous = np.empty(n, dtype=np.int64)
        previous[1:] = np.where(ends[:-1], _NOWHERE, slots[:-1])
        previous[opens] = self._stream_last[streams[opens]]
        heads = opens | (previous < 0)  # rows whose position does not follow from the row above
        head = np.maximum.accumulate(np.where(heads, np.arange(n), 0))
        continued = previous >= 0
        base = np.where(continued, self._position[previous] + 1, 0)
        self._position[slots] = base[head] + np.arange(n) - head
        handles = self._rows.slots.handles[slots]
        first = np.where(continued, self._first[previous], np.where(previous == _BROKEN, _BROKEN, handles))
        self._first[slots] = first[head]
        self._previous[slots] = np.maximum(previous, _NOWHERE)
        self.next[slots] = _NOWHERE
        self.next[previous[continued]] = slots[continued]
        self._gone[slots] = 0
        closes = np.ones(n, dtype=np.bool_)
        closes[:-1] = opens[1:]
        self._stream_last[streams[closes]] = np.where(ends[closes], _NOWHERE, slots[closes])
        self._note_sequences(slots)
        self._note_episodes(slots[ends])

    def remove(self, slots: Slots) -> None:
        """Cut these rows out (each named once)."""
        if slots.size == 0:
            return
        self._leaving[slots] = True
        if self._length is not None:
            # A run that would reach into these rows begins at most length - 1 rows before them.
            self.sequences.remove(slots)
            before = self._outside(self._previous[slots])
            for _ in range(self._length - 1):
                if before.size == 0:
                    break
                self.sequences.remove(before)
                before = self._outside(self._previous[before])
        first_slots, alive = self._rows.slots.resolve(self._first[slots])
        first_slots = first_slots[alive]
        self.episodes.remove(slots)  # as first rows, which may have been overwritten already
        self.episodes.remove(first_slots)
        np.add.at(self._gone, first_slots, 1)
        after, before = self.next[slots], self._previous[slots]
        self._previous[after[after >= 0]] = _NOWHERE
        self.next[before[before >= 0]] = _NOWHERE
        self.next[slots] = _NOWHERE
        self._previous[slots] = _NOWHERE
        self._first[slots] = _NOWHERE
        last = self._stream_last
        if last.size:
            last[(last >= 0) & self._leaving[last]] = _BROKEN
        self._leaving[slots] = False

    def _outside(self, slots: Slots) -> Slots:
        slots = slots[slots >= 0]
        return slots[~self._leaving[slots]]

    def _stream_numbers(self, slots: Slots) -> NDArray[np.int64]:
        """Index of each row's stream; streams that were not seen before are added."""
        if self._stream_column is None:
            ids = np.zeros(slots.size, dtype=np.int64)
        else:
            ids = self._rows.columns.views[self._stream_column][slots].astype(np.int64)
        new = np.setdiff1d(ids, self._stream_ids)
        if new.size:
            where = np.searchsorted(self._stream_ids, new)
            self._stream_ids = np.insert(self._stream_ids, where, new)
            self._stream_last = np.insert(self._stream_last, where, _NOWHERE)
        return np.searchsorted(self._stream_ids, ids)

    def _note_sequences(self, slots: Slots) -> None:
        """Each new row completes the run that begins ``length - 1`` rows before it, if all are there."""
        if self._length is None:
            return
        starts = slots[self._position[slots] >= self._length - 1]
        for _ in range(self._length - 1):
            starts = self._previous[starts]
            starts = starts[starts >= 0]
        self.sequences.insert(starts)

    def _note_episodes(self, ends: Slots) -> None:
        first, alive = self._rows.slots.resolve(self._first[ends])
        whole = alive & (self._gone[first] == 0)
        first = first[whole]
        self.episode_length[first] = self._position[ends[whole]] + 1
        self.episodes.insert(first)

    # -- reading -----------------------------------------------------------------------------------

    def runs(self, starts: Slots, length: int) -> Slots:
        """The slots of ``length`` rows from each start: shape ``(starts, length)``."""
        slots = np.empty((length, starts.size), dtype=np.int64)
        at = starts
        for k in range(length):
            slots[k] = at
            at = self.next.take(at)
        return np.ascontiguousarray(slots.T)

    def whole(self, starts: Slots) -> tuple[Slots, NDArray[np.int64]]:
        """The slots of whole episodes one after another, and the length of each."""
        lengths = self.episode_length[starts]
        slots = np.empty(int(lengths.sum()), dtype=np.int64)
        where = np.cumsum(lengths) - lengths
        at, left = starts, lengths
        while at.size:
            slots[where] = at
            going = left > 1
            at, where, left = self.next[at[going]], where[going] + 1, left[going] - 1
        return slots, lengths

    # -- checkpoints -------------------------------------------------------------------------------

    _ARRAYS = ("next", "_previous", "_position", "_first", "_gone", "episode_length")

    def export_state(self) -> dict[str, NDArray[Any]]:
        arrays = {name.strip("_"): getattr(self, name).copy() for name in self._ARRAYS}
        return arrays | {
            "sequences": self.sequences.members().copy(),
            "episodes": self.episodes.members().copy(),
            "stream_ids": self._stream_ids.copy(),
            "stream_last": self._stream_last.copy(),
        }

    def import_state(self, arrays: dict[str, NDArray[Any]]) -> None:
        for name in self._ARRAYS:
            getattr(self, name)[:] = arrays[name.strip("_")]
        self.sequences.replace_members(arrays["sequences"])
        self.episodes.replace_members(arrays["episodes"])
        self._stream_ids = arrays["stream_ids"].copy()
        self._stream_last = arrays["stream_last"].copy()
