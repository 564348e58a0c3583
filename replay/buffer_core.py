"""`BufferCore`: the parts of a replay buffer under one lock, and how they work together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue, NothingToSample, RateLimited
from .batch import Batch, concatenate
from .checkpoint import BufferState
from .columns import ColumnStore
from .folder_lock import FolderLock
from .frames import ImageStorage
from .handles import HandleLayout, Handles, Slots
from .living import note_buffer
from .packed_batch import PackedBatch
from .priorities import Priorities, check_priorities
from .rate_limiters import Counters, MinSize, RateLimiter
from .removers import OldestRemover
from .repeats import count_draws
from .samplers import UniformSampler
from .schedules import Schedule, value_at
from .schema import Schema
from .selector import Draw, Rows, Selector
from .slots import SlotTable
from .snapshot import RowSnapshot

INTEGERS = (int, np.integer)
NO_PRIORITIES = (
    "This buffer has no priorities: neither its sampler nor its remover uses them. "
    "Make a PrioritizedReplayBuffer."
)
_BYTES_PER_HANDLE = 8
_BYTES_PER_PRIORITY = 8


class BufferCore:
    """The machinery under `ReplayBuffer`; not to be used by itself."""

    def __init__(
        self,
        schema: Schema | None = None,
        capacity: int | None = None,
        *,
        capacity_bytes: int | None = None,
        sampler: Selector | None = None,
        remover: Selector | None = None,
        rate_limiter: RateLimiter | None = None,
        max_times_sampled: int | None = None,
        beta: float | Schedule = 0.4,
        seed: int | None = None,
        shard: int = 0,
        folder: str | Path | None = None,
        images: ImageStorage | None = None,
        timeout_s: float | None = 0.0,
    ) -> None:
        if schema is not None and not isinstance(schema, Schema):
            raise InvalidType(
                f"schema must be a Schema, got {type(schema).__name__}. Use Schema.from_example({{...}}), "
                "Schema.from_env(env) or Schema({name: (shape, dtype)})."
            )
        if capacity is None and capacity_bytes is None:
            raise InvalidValue("Give the buffer a capacity (rows) or a capacity_bytes.")
        for name, value in (
            ("capacity", capacity),
            ("capacity_bytes", capacity_bytes),
            ("max_times_sampled", max_times_sampled),
        ):
            if value is not None and (not isinstance(value, INTEGERS) or value < 1):
                raise InvalidValue(f"{name} is {value!r}, must be a positive integer.")
        HandleLayout(1, shard)  # checks the shard
        self._capacity = None if capacity is None else int(capacity)
        self._capacity_bytes = None if capacity_bytes is None else int(capacity_bytes)
        self._sampler = UniformSampler() if sampler is None else sampler
        self._remover = OldestRemover() if remover is None else remover
        self._uses_priorities = self._sampler.uses_priorities or self._remover.uses_priorities
        if max_times_sampled is not None and not self._sampler.draws_single_rows:
            raise InvalidValue(
                f"max_times_sampled counts single rows; {type(self._sampler).__name__} draws runs."
            )
        self._limiter = MinSize(1) if rate_limiter is None else rate_limiter
        self._max_times_sampled = max_times_sampled
        self._beta = beta
        value_at(beta, 0, "beta")
        self._shard = shard
        self._folder = None if folder is None else Path(folder)
        if images is not None and folder is not None:
            raise InvalidValue("Frames are kept in RAM: give the buffer images= or folder=, not both.")
        self._images = images
        self._may_hold_inserts = type(self._limiter) is not MinSize
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._rng = np.random.default_rng(seed)
        # Removers draw from a generator of their own: a copy that repeats the inserts of this buffer
        # but none of its samples (a backup shard) then evicts the same rows.
        self._remover_rng = np.random.default_rng(None if seed is None else [seed, 1])
        self._inserted = 0
        self._sampled = 0
        self._draws = 0
        self._max_priority = 1.0
        self._snapshots: list[RowSnapshot] = []
        self._coming: BufferState | None = None  # an index whose rows are still to come
        self._built = False
        if self._capacity is not None:
            self._limiter.check(self._capacity)
        # Held as long as this buffer lives: its columns are written over whatever is there.
        self._folder_lock = None if self._folder is None else FolderLock(self._folder)
        if schema is not None:
            self._build(schema)
        note_buffer(self)

    def _capacity_for(self, schema: Schema) -> int:
        """How many rows of this schema there is room for."""
        capacity = self._capacity
        if self._capacity_bytes is not None:
            row_nbytes = (
                ColumnStore(schema, 1).row_nbytes
                + _BYTES_PER_HANDLE
                + (_BYTES_PER_PRIORITY if self._uses_priorities else 0)
                + (4 if self._max_times_sampled is not None else 0)
                + self._sampler.bytes_per_row()
                + self._remover.bytes_per_row()
            )
            rows = self._capacity_bytes // row_nbytes
            if rows < 1:
                raise InvalidValue(
                    f"capacity_bytes is {self._capacity_bytes}, but one row takes {row_nbytes} bytes."
                )
            capacity = rows if capacity is None else min(capacity, rows)
        assert capacity is not None
        return capacity

    def _build(self, schema: Schema) -> None:
        """Allocate everything, now that the schema is known."""
        uses_priorities = self._uses_priorities
        capacity = self._capacity_for(schema)
        self._limiter.check(capacity)
        self._slots = SlotTable(capacity, self._shard)
        self._columns = ColumnStore(schema, capacity, self._folder, self._images)
        self._priorities = np.zeros(capacity) if uses_priorities else None
        self._times_sampled = (
            np.zeros(capacity, dtype=np.int32) if self._max_times_sampled is not None else None
        )
        rows_seen = Rows(self._slots, self._columns, self._priorities)
        self._sampler.bind(rows_seen)
        self._remover.bind(rows_seen)
        # A selector that does not override insert needs no call per insert.
        self._indexed = [s for s in (self._sampler, self._remover) if type(s).insert is not Selector.insert]
        self._wants_room = [s for s in self._indexed if type(s).make_room is not Selector.make_room]
        self._overwrites_in_place = self._remover.takes_oldest
        self._capacity = capacity
        self._built = True

    @property
    def schema(self) -> Schema | None:
        """None until the first row, if none was given."""
        return self._columns.schema if self._built else None

    @property
    def capacity(self) -> int | None:
        """In rows; None while it follows from ``capacity_bytes`` and the schema is not known."""
        return self._capacity

    @property
    def inserted(self) -> int:
        """Rows ever inserted."""
        return self._inserted

    @property
    def sampled(self) -> int:
        """Rows ever sampled."""
        return self._sampled

    def __len__(self) -> int:
        return self._slots.count if self._built else 0

    def _insert(
        self, columns: list[NDArray[Any]] | PackedBatch, priorities: Priorities | None, count: int
    ) -> Handles:
        table = self._slots
        excess = table.count + count - table.capacity
        if excess > 0 and not (self._overwrites_in_place and table.is_ring):
            self._discard(self._remover.draw(excess, self._remover_rng).slots)
        for selector in self._wants_room:
            selector.make_room(count)
        slots, where, handles = table.take(count)
        for snapshot in self._snapshots:
            snapshot.before_overwrite(slots)
        self._columns.write(where, columns)
        if self._priorities is not None:
            if priorities is None:
                self._priorities[where] = self._max_priority
            else:
                self._priorities[where] = priorities
                self._note_largest(priorities)
        if self._times_sampled is not None:
            self._times_sampled[where] = 0
        for selector in self._indexed:
            selector.insert(slots)
        self._inserted += count
        if self._waiting:
            self._wake()
        return handles

    def _discard(self, slots: Slots) -> None:
        if slots.size:
            for selector in self._indexed:
                selector.remove(slots)
            self._slots.release(slots)
            if self._waiting:
                self._wake()

    def _sample_limited(self, batch_size: int, beta: float, rng: np.random.Generator) -> Batch:
        """Sample where a row leaves after ``max_times_sampled`` draws, also in the middle of a batch.

        A row that was drawn more often in this batch than it may be leaves, and what it was drawn too
        often is drawn again from the rest.
        """
        limit, times = self._max_times_sampled, self._times_sampled
        assert limit is not None
        assert times is not None
        parts: list[Batch] = []
        missing = batch_size
        while missing:
            try:
                draw = self._sampler.draw(missing, rng)
            except NothingToSample:
                if not parts:
                    raise
                break  # the rows are used up: a shorter batch
            allowed, exhausted = count_draws(draw.slots, times, limit)
            probabilities = None if draw.probabilities is None else draw.probabilities[allowed]
            kept = draw._replace(slots=draw.slots[allowed], probabilities=probabilities)
            parts.append(self._read(kept, beta))
            self._discard(exhausted)
            missing -= allowed.size
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def _read(self, draw: Draw, beta: float) -> Batch:
        slots = draw.slots
        flat = slots if slots.ndim == 1 else slots.reshape(-1)
        columns = self._columns.gather(flat)
        if slots.ndim == 2:
            columns = {n: c.reshape(*slots.shape, *c.shape[1:]) for n, c in columns.items()}
            slots = slots[:, 0]
        elif draw.lengths is not None:
            slots = slots.take(np.cumsum(draw.lengths) - draw.lengths)
        weights = None
        if draw.probabilities is not None:
            weights = ((draw.smallest / draw.probabilities) ** beta).astype(np.float32)
        return Batch(
            columns,
            self._slots.handles.take(slots),
            probabilities=draw.probabilities,
            weights=weights,
            lengths=draw.lengths,
            population=draw.population,
        )

    def _check_given(self, priorities: Any, count: int) -> Priorities:
        """Priorities that come with new rows."""
        if not self._uses_priorities:
            raise InvalidValue(NO_PRIORITIES)
        return check_priorities(priorities, count)

    def _note_largest(self, priorities: Priorities) -> None:
        self._max_priority = max(self._max_priority, float(priorities.max()))

    def _require_built(self, what: str) -> None:
        if not self._built:
            raise InvalidValue(f"There is nothing to {what}: the buffer has no schema yet.")

    def _counters(self) -> Counters:
        return Counters(len(self), self._inserted, self._sampled)

    def _wake(self) -> None:
        """Let threads that wait for the rate limiter look again."""
        self._changed.notify_all()

    def _may_insert(self, rows: int) -> bool:
        now = self._counters()
        return self._limiter.may_insert(now, rows) or self._limiter.may_refill(now, rows)

    def _may_sample(self, rows: int) -> bool:
        return self._limiter.may_sample(self._counters(), rows)

    def _wait(self, allowed: Callable[[int], bool], what: Literal["insert", "sample"], rows: int) -> None:
        """Until the rate limiter lets the call through; raises `RateLimited` after ``timeout_s``."""
        if allowed(rows):
            return
        most = self._limiter.most_at_once(what)
        if rows > most:
            raise InvalidValue(
                f"{self._limiter} lets no {what} of {rows} rows through, however long it waits: at most "
                f"{int(most)} at once. Use smaller batches, or other limits."
            )
        if self._timeout_s != 0.0:
            self._waiting += 1
            try:
                if self._changed.wait_for(lambda: allowed(rows), self._timeout_s):
                    return
            finally:
                self._waiting -= 1
        now = self._counters()
        if now.size == 0 and what == "sample":
            raise NothingToSample("The buffer is empty. Add rows before sampling.")
        raise RateLimited(
            f"{self._limiter} holds back a {what} of {rows} rows: {now.size} rows are stored, {now.inserted} "
            f"were inserted and {now.sampled} sampled. "
            + ("Sample first, or " if what == "insert" else "Insert more rows first, or ")
            + "give the buffer a timeout_s to wait for another thread."
        )
