"""The replay buffer: columns, a sampler, a remover and a rate limiter under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue, NothingToSample, RateLimited
from . import persistence
from .batch import Batch, concatenate
from .checkpoint import BufferState
from .columns import ColumnStore
from .frames import ImageStorage
from .handles import HandleLayout, Handles, Slots, as_handles
from .priorities import Priorities, check_priorities
from .rate_limiters import Counters, MinSize, RateLimiter
from .removers import OldestRemover
from .repeats import count_draws
from .samplers import PrioritizedSampler, UniformSampler
from .schedules import Schedule, value_at
from .schema import Schema
from .selector import Draw, Rows, Selector
from .slots import SlotTable
from .snapshot import RowSnapshot

_INTEGERS = (int, np.integer)
_NO_PRIORITIES = (
    "This buffer has no priorities: neither its sampler nor its remover uses them. "
    "Make a PrioritizedReplayBuffer."
)
_BYTES_PER_HANDLE = 8
_BYTES_PER_PRIORITY = 8


class UpdateResult(NamedTuple):
    """How many priorities were set, and how many handles named a row that is gone.

    Examples:
        >>> UpdateResult(applied=250, stale=6).stale
        6
    """

    applied: int
    stale: int


class PriorityStats(NamedTuple):
    """What a distributed draw needs to know about one shard, in scaled priorities (``p**alpha``).

    Examples:
        >>> PriorityStats(total=12.5, rows=10, smallest=0.5).rows
        10
    """

    total: float
    rows: int
    smallest: float  # the smallest positive one; infinity where there is none


class ReplayBuffer:
    """A replay buffer in one process. All methods are thread-safe; every sampled row is whole.

        buffer = ReplayBuffer(capacity=100_000, seed=0)
        buffer.add(obs=obs, action=action, reward=reward, next_obs=next_obs, terminated=done)
        batch = buffer.sample(256)

    ``schema`` may be left out: the first row or batch then gives it. ``capacity`` is in rows,
    ``capacity_bytes`` in bytes of columns and indexes; with both the smaller one counts. Equal seeds
    and equal calls give equal batches. ``folder`` keeps the columns in memory-mapped files there.
    ``images`` keeps equal frames of image columns once (see `ImageStorage`); ``capacity_bytes`` counts
    rows as if they were not.

    ``timeout_s`` is how long `add` and `sample` wait for the rate limiter before they raise
    `RateLimited`; None waits for ever. Bad input raises `InvalidValue` or `InvalidType` and changes
    nothing.

    Examples:
        >>> import numpy as np
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=1_000, seed=0)
        >>> handles = buffer.add_batch({"obs": np.zeros((8, 4), np.float32), "reward": np.ones(8)})
        >>> buffer.sample(3)["obs"].shape
        (3, 4)
    """

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
            if value is not None and (not isinstance(value, _INTEGERS) or value < 1):
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
        self._built = False
        if self._capacity is not None:
            self._limiter.check(self._capacity)
        if schema is not None:
            self._build(schema)

    def _build(self, schema: Schema) -> None:
        """Allocate everything, now that the schema is known."""
        uses_priorities = self._uses_priorities
        capacity = self._capacity
        if self._capacity_bytes is not None:
            row_nbytes = (
                ColumnStore(schema, 1).row_nbytes
                + _BYTES_PER_HANDLE
                + (_BYTES_PER_PRIORITY if uses_priorities else 0)
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

    # -- inserting ---------------------------------------------------------------------------------

    def add(self, priority: float | None = None, /, **row: Any) -> int:
        """Insert one row, given by column; returns its handle.

        Without ``priority`` (positional) the row gets the largest priority seen so far, so that it is
        drawn soon. Only buffers with priorities take one.
        """
        with self._lock:
            given = None if priority is None else self._check_given([priority], 1)
            if not self._built:
                self._build(Schema.from_example(row))
            values = self._columns.check_row(row)
            if self._may_hold_inserts:
                self._wait(lambda now: self._limiter.may_insert(now, 1), "insert", 1)
            table = self._slots
            if given is not None or not (self._overwrites_in_place and table.is_ring):
                return self._insert([np.asarray(value)[None] for value in values], given, 1).item()
            for selector in self._wants_room:
                selector.make_room(1)
            slot = table.take_one()
            for snapshot in self._snapshots:
                snapshot.before_overwrite(np.array([slot]))
            self._columns.write_row(slot, values)
            if self._priorities is not None:
                self._priorities[slot] = self._max_priority
            if self._times_sampled is not None:
                self._times_sampled[slot] = 0
            for selector in self._indexed:
                selector.insert_one(slot)
            self._inserted += 1
            if self._waiting:
                self._wake()
            return table.handles.item(slot)

    def add_batch(self, batch: Mapping[str, Any], priorities: Any | None = None) -> Handles:
        """Insert rows, given as columns whose first axis is the row; returns their handles.

        The rows enter in order. More rows than the capacity are accepted, as if one came after the
        other: the handles of those that were overwritten at once are stale from the start.
        """
        with self._lock:
            if not self._built:
                schema = Schema.from_batch(batch)
                _, count = ColumnStore(schema, 1).check_batch(batch)  # a bad batch must not fix the schema
                if priorities is not None:
                    self._check_given(priorities, count)
                self._build(schema)
            columns, count = self._columns.check_batch(batch)
            given = None if priorities is None else self._check_given(priorities, count)
            if count == 0:
                return np.empty(0, dtype=np.int64)
            if self._may_hold_inserts:
                self._wait(lambda now: self._limiter.may_insert(now, count), "insert", count)
            capacity = self._slots.capacity
            if count <= capacity:
                return self._insert(columns, given, count)
            parts = []
            for start in range(0, count, capacity):
                part = slice(start, min(start + capacity, count))
                parts.append(
                    self._insert(
                        [column[part] for column in columns],
                        None if given is None else given[part],
                        part.stop - part.start,
                    )
                )
            return np.concatenate(parts)

    def _insert(self, columns: list[NDArray[Any]], priorities: Priorities | None, count: int) -> Handles:
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

    # -- sampling ----------------------------------------------------------------------------------

    def sample(
        self, batch_size: int, beta: float | None = None, *, rng: np.random.Generator | None = None
    ) -> Batch:
        """Draw rows. ``beta`` is the exponent of the importance weights (default: the buffer's).

        ``rng`` draws in place of the buffer's own generator.

        With ``max_times_sampled`` a batch is shorter where the rows run out. Raises `RateLimited` while
        the rate limiter holds sampling back, and `NothingToSample` where no row can be drawn.
        """
        if not isinstance(batch_size, _INTEGERS) or batch_size < 1:
            raise InvalidValue(f"batch_size is {batch_size!r}, must be a positive integer.")
        batch_size = int(batch_size)
        with self._lock:
            exponent = value_at(self._beta if beta is None else beta, self._draws, "beta")
            if not self._built and self._timeout_s == 0.0:
                raise NothingToSample("The buffer is empty. Add rows before sampling.")
            if not self._limiter.may_sample(self._counters(), batch_size):
                self._wait(lambda now: self._limiter.may_sample(now, batch_size), "sample", batch_size)
            if self._times_sampled is None:
                batch = self._read(self._sampler.draw(batch_size, rng or self._rng), exponent)
            else:
                batch = self._sample_limited(batch_size, exponent)
            self._draws += 1
            self._sampled += len(batch)
            if self._waiting:
                self._wake()
            return batch

    def sample_batches(self, count: int, batch_size: int, beta: float | None = None) -> list[Batch]:
        """Several batches for the price of little more than one: they are views of one draw."""
        if not isinstance(count, _INTEGERS) or count < 1:
            raise InvalidValue(f"count is {count!r} batches, must be a positive integer.")
        return self.sample(int(count) * batch_size, beta).split(batch_size)

    def read(self, handles: Any) -> tuple[Batch, NDArray[np.bool_]]:
        """The rows that these handles name, as far as they are still stored, and which ones are.

        The batch has the found rows only, in the order of the handles; its probabilities are 1. Counts
        as no sampling.
        """
        named = as_handles(handles)
        self._require_built("read")
        with self._lock:
            slots, found = self._slots.resolve(named)
            return self._read(Draw(slots[found], 1), 0.0), found

    def priorities_of(self, handles: Any) -> Priorities:
        """The priority (as it was set, not scaled) of each handle's row; NaN where the row is gone."""
        named = as_handles(handles)
        self._require_built("read")
        with self._lock:
            if self._priorities is None:
                raise InvalidValue(_NO_PRIORITIES)
            slots, found = self._slots.resolve(named)
            return np.where(found, self._priorities.take(slots), np.nan)

    def handles(self) -> Handles:
        """The handles of all rows, oldest first."""
        with self._lock:
            if not self._built:
                return np.empty(0, dtype=np.int64)
            return self._slots.handles.take(self._slots.live())

    def _sample_limited(self, batch_size: int, beta: float) -> Batch:
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
                draw = self._sampler.draw(missing, self._rng)
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

    # -- priorities --------------------------------------------------------------------------------

    def update_priorities(self, handles: Any, priorities: Any) -> UpdateResult:
        """Set the priorities of rows that are still stored; handles of rows that are gone count as stale.

        ``priorities`` is one number or one per handle, finite and not negative (NaN and negative ones
        raise and nothing is changed). Where a handle is repeated, the last priority stands.
        """
        named = as_handles(handles)
        given = check_priorities(priorities, named.size)
        with self._lock:
            if not self._built:
                return UpdateResult(0, int(named.size))
            stored = self._priorities
            if stored is None:
                raise InvalidValue(_NO_PRIORITIES)
            slots, fresh = self._slots.resolve(named)
            if not fresh.all():
                slots, given = slots[fresh], given[fresh]
            if slots.size:
                stored[slots] = given
                self._note_largest(given)
                for selector in self._indexed:
                    selector.update(slots)
            return UpdateResult(int(slots.size), int(named.size - slots.size))

    def _check_given(self, priorities: Any, count: int) -> Priorities:
        """Priorities that come with new rows."""
        if not self._uses_priorities:
            raise InvalidValue(_NO_PRIORITIES)
        return check_priorities(priorities, count)

    def _note_largest(self, priorities: Priorities) -> None:
        self._max_priority = max(self._max_priority, float(priorities.max()))

    def priority_stats(self) -> PriorityStats:
        """Sum, count and minimum of what rows are drawn by; raises where the sampler is not prioritized."""
        with self._lock:
            if not isinstance(self._sampler, PrioritizedSampler):
                raise InvalidValue(f"{type(self._sampler).__name__} draws by no priorities.")
            if not self._built:
                return PriorityStats(0.0, 0, float("inf"))
            self._sampler.flush()
            tree = self._sampler.tree
            return PriorityStats(tree.total, self._slots.count, tree.minimum)

    # -- removing ----------------------------------------------------------------------------------

    def remove(self, handles: Any) -> int:
        """Remove these rows; returns how many were still there."""
        with self._lock:
            if not self._built:
                return 0
            slots, fresh = self._slots.resolve(as_handles(handles))
            slots = slots[fresh]
            if slots.size > 1:
                _, first = np.unique(slots, return_index=True)
                slots = slots[np.sort(first)]
            self._discard(slots)
            return int(slots.size)

    def widen(self, schema: Schema) -> None:
        """Go over to wider dtypes of the same columns; rows, handles and priorities stay. Copies once."""
        with self._lock:
            if not self._built or schema.names != self._columns.schema.names:
                raise InvalidValue(f"Only the columns {self.schema} can be widened, got {schema}.")
            self._columns.widen(schema, self._slots.live())

    def clear(self) -> None:
        """Remove all rows. Handles given out so far become stale."""
        with self._lock:
            if self._built:
                self._discard(self._slots.live())

    def _discard(self, slots: Slots) -> None:
        if slots.size:
            for selector in self._indexed:
                selector.remove(slots)
            self._slots.release(slots)
            if self._waiting:
                self._wake()

    # -- state -------------------------------------------------------------------------------------

    def checkpoint(self, path: str | Path) -> None:
        """Write everything to one file, as it is at the moment of the call.

        Other threads go on inserting and sampling meanwhile: the lock is held for short moments only.
        The file holds no pickle, has checksums, and appears under its name only when it is complete.
        """
        self._require_built("checkpoint")
        persistence.write_checkpoint(self, path)

    def restore(self, path: str | Path) -> None:
        """Become what a checkpoint says: rows, handles, priorities, counters, random generators.

        The buffer must be made with the same capacity, sampler and remover; what it held is replaced.
        A damaged file raises `CorruptData`, one that does not fit `InvalidValue`; nothing changes then.
        """
        state = persistence.read_checkpoint(path)
        with self._lock:
            persistence.import_state(self, state)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Self:
        """A new buffer from a checkpoint; ``options`` are what the saved one was made with.

        Schema and capacity come from the file.
        """
        state = persistence.read_checkpoint(path)
        buffer = cls(persistence.schema_of(state), state.values["capacity"], **options)
        with buffer._lock:
            persistence.import_state(buffer, state)
        return buffer

    def export_state(self) -> BufferState:
        """The whole state as plain values and arrays (copies), for another process."""
        self._require_built("export")
        with self._lock:
            return persistence.export_state(self)

    def import_state(self, state: BufferState) -> None:
        """As `restore`, from what `export_state` gave. Afterwards both hold the same, handles included."""
        with self._lock:
            persistence.import_state(self, state)

    def _require_built(self, what: str) -> None:
        if not self._built:
            raise InvalidValue(f"There is nothing to {what}: the buffer has no schema yet.")

    def __len__(self) -> int:
        return self._slots.count if self._built else 0

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

    def _counters(self) -> Counters:
        return Counters(len(self), self._inserted, self._sampled)

    def _wake(self) -> None:
        """Let threads that wait for the rate limiter look again."""
        self._changed.notify_all()

    def _wait(self, allowed: Callable[[Counters], bool], what: str, rows: int) -> None:
        """Until the rate limiter lets the call through; raises `RateLimited` after ``timeout_s``."""
        if allowed(self._counters()):
            return
        if self._timeout_s != 0.0:
            self._waiting += 1
            try:
                if self._changed.wait_for(lambda: allowed(self._counters()), self._timeout_s):
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


class PrioritizedReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` that draws row i with probability ``p_i**alpha / sum`` (see `PrioritizedSampler`).

    Examples:
        >>> import numpy as np
        >>> from memories.replay import PrioritizedReplayBuffer
        >>> buffer = PrioritizedReplayBuffer(capacity=1_000, alpha=0.6, seed=0)
        >>> handles = buffer.add_batch({"reward": np.ones(8)})
        >>> batch = buffer.sample(3, beta=0.4)
        >>> buffer.update_priorities(batch.handles, np.full(3, 0.5))
        UpdateResult(applied=3, stale=0)
    """

    def __init__(
        self,
        schema: Schema | None = None,
        capacity: int | None = None,
        *,
        alpha: float | Schedule = 0.6,
        beta: float | Schedule = 0.4,
        **options: Any,
    ) -> None:
        if "sampler" in options:
            raise InvalidValue(
                "A PrioritizedReplayBuffer brings its sampler; use ReplayBuffer for another one."
            )
        super().__init__(schema, capacity, sampler=PrioritizedSampler(alpha), beta=beta, **options)
