"""The replay buffer: columns, a sampler, a remover and a rate limiter under one lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, NothingToSample
from . import persistence
from .batch import Batch
from .buffer_core import INTEGERS, NO_PRIORITIES, BufferCore
from .checkpoint import BufferState
from .columns import ColumnStore
from .handles import Handles, as_handles
from .packed_batch import PackedBatch
from .priorities import Priorities, as_priorities, check_values, store_priorities
from .samplers import PrioritizedSampler
from .schedules import Schedule, value_at
from .schema import Schema
from .selector import Draw


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


class ReplayBuffer(BufferCore):
    """A replay buffer in one process. All methods are thread-safe; every sampled row is whole.

        buffer = ReplayBuffer(capacity=100_000, seed=0)
        buffer.add(obs=obs, action=action, reward=reward, next_obs=next_obs, terminated=done)
        batch = buffer.sample(256)

    ``schema`` may be left out: the first row or batch then gives it. ``capacity`` is in rows,
    ``capacity_bytes`` in bytes of columns and indexes; with both the smaller one counts. Equal seeds
    and equal calls give equal batches. ``folder`` keeps the columns in memory-mapped files there; while
    another buffer does so, in any process, it raises `LockHeld`. ``images`` keeps equal frames of image
    columns once (see `ImageStorage`); ``capacity_bytes`` counts rows as if they were not.

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
                self._wait(self._may_insert, "insert", 1)
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

    def add_batch(self, batch: Mapping[str, Any] | PackedBatch, priorities: Any | None = None) -> Handles:
        """Insert rows, given as columns whose first axis is the row; returns their handles.

        A `PackedBatch` of the same schema is stored with one copy. The rows enter in order. More rows than
        the capacity are accepted, as if one came after the other: the handles of those that were
        overwritten at once are stale from the start.
        """
        with self._lock:
            if not self._built:
                if isinstance(batch, PackedBatch):
                    raise InvalidValue(
                        "A packed batch has no column names: give the buffer its schema first."
                    )
                schema = Schema.from_batch(batch)
                _, count = ColumnStore(schema, 1).check_batch(batch)  # a bad batch must not fix the schema
                if priorities is not None:
                    self._check_given(priorities, count)
                self._build(schema)
            columns: list[NDArray[Any]] | PackedBatch
            if isinstance(batch, PackedBatch):
                columns, count = self._columns.check_packed(batch)
            else:
                columns, count = self._columns.check_batch(batch)
            given = None if priorities is None else self._check_given(priorities, count)
            if count == 0:
                return np.empty(0, dtype=np.int64)
            if self._may_hold_inserts:
                self._wait(self._may_insert, "insert", count)
            capacity = self._slots.capacity
            if count <= capacity:
                return self._insert(columns, given, count)
            parts = []
            for start in range(0, count, capacity):
                stop = min(start + capacity, count)
                some = (
                    columns.part(start, stop)
                    if isinstance(columns, PackedBatch)
                    else [column[start:stop] for column in columns]
                )
                mine = None if given is None else given[start:stop]
                parts.append(self._insert(some, mine, stop - start))
            return np.concatenate(parts)

    # -- sampling ----------------------------------------------------------------------------------

    def sample(
        self, batch_size: int, beta: float | None = None, *, rng: np.random.Generator | None = None
    ) -> Batch:
        """Draw rows. ``beta`` is the exponent of the importance weights (default: the buffer's).

        ``rng`` draws in place of the buffer's own generator.

        With ``max_times_sampled`` a batch is shorter where the rows run out. Raises `RateLimited` while
        the rate limiter holds sampling back, and `NothingToSample` where no row can be drawn.
        """
        if not isinstance(batch_size, INTEGERS) or batch_size < 1:
            raise InvalidValue(f"batch_size is {batch_size!r}, must be a positive integer.")
        batch_size = int(batch_size)
        with self._lock:
            exponent = value_at(self._beta if beta is None else beta, self._draws, "beta")
            if not self._built and self._timeout_s == 0.0:
                raise NothingToSample("The buffer is empty. Add rows before sampling.")
            if not self._limiter.may_sample(self._counters(), batch_size):
                self._wait(self._may_sample, "sample", batch_size)
            if self._times_sampled is None:
                batch = self._read(self._sampler.draw(batch_size, rng or self._rng), exponent)
            else:
                batch = self._sample_limited(batch_size, exponent, rng or self._rng)
            self._draws += 1
            self._sampled += len(batch)
            if self._waiting:
                self._wake()
            return batch

    def sample_batches(self, count: int, batch_size: int, beta: float | None = None) -> list[Batch]:
        """Several batches for the price of little more than one: they are views of one draw."""
        if not isinstance(count, INTEGERS) or count < 1:
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
                raise InvalidValue(NO_PRIORITIES)
            slots, found = self._slots.resolve(named)
            return np.where(found, self._priorities.take(slots), np.nan)

    def handles(self) -> Handles:
        """The handles of all rows, oldest first."""
        with self._lock:
            if not self._built:
                return np.empty(0, dtype=np.int64)
            return self._slots.handles.take(self._slots.live())

    # -- priorities --------------------------------------------------------------------------------

    def update_priorities(self, handles: Any, priorities: Any) -> UpdateResult:
        """Set the priorities of rows that are still stored; handles of rows that are gone count as stale.

        ``priorities`` is one number or one per handle, finite and not negative (NaN and negative ones
        raise and nothing is changed). Where a handle is repeated, the last priority stands.
        """
        named = as_handles(handles)
        given = as_priorities(priorities, named.size)
        with self._lock:
            if not self._built:
                check_values(given)
                return UpdateResult(0, named.size)
            stored = self._priorities
            if stored is None:
                check_values(given)
                raise InvalidValue(NO_PRIORITIES)
            slots, given, low, high = store_priorities(self._slots, stored, named, given)
            if slots.size:
                self._max_priority = max(self._max_priority, high)
                for selector in self._indexed:
                    selector.update_to(slots, given, low, high)
            return UpdateResult(slots.size, named.size - slots.size)

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
            live = self._slots.live()
            # Rows that have left are not taken along, and a checkpoint may still be to write them.
            gone = np.setdiff1d(np.arange(self._slots.capacity), live) if self._snapshots else live[:0]
            for snapshot in self._snapshots:
                snapshot.before_overwrite(gone)
            self._columns.widen(schema, live)

    def clear(self) -> None:
        """Remove all rows. Handles given out so far become stale."""
        with self._lock:
            if self._built:
                self._discard(self._slots.live())

    # -- state -------------------------------------------------------------------------------------

    def checkpoint(self, path: str | Path) -> None:
        """Write everything to one file, as it is at the moment of the call.

        Other threads go on inserting and sampling meanwhile: the lock is held for short moments only.
        The file holds no pickle, has checksums, and appears under its name only when it is complete.
        """
        self.begin_checkpoint().write(path)

    def begin_checkpoint(self) -> persistence.PendingCheckpoint:
        """Fix the moment of a checkpoint, which another thread may then write."""
        self._require_built("checkpoint")
        return persistence.PendingCheckpoint(self)

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

    def import_index(self, state: BufferState) -> None:
        """The first part of `import_state`: all but the rows, which `import_rows` must bring at once."""
        with self._lock:
            persistence.import_index(self, state)

    def import_rows(self, start: int, columns: Mapping[str, Any]) -> None:
        """The rows of an imported index, oldest first, from row ``start`` on; the last ones complete it."""
        with self._lock:
            persistence.import_rows(self, start, columns)

    def import_state(self, state: BufferState) -> None:
        """As `restore`, from what `export_state` gave. Afterwards both hold the same, handles included."""
        with self._lock:
            persistence.import_state(self, state)


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
