"""Taking the whole state out of a buffer and putting it back; checkpoints while the buffer is in use.

A part of `ReplayBuffer` in a module of its own: it reads and writes the buffer's private fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CorruptData, NewerFormat
from .checkpoint import Arrays, BufferState, CheckpointReader, CheckpointWriter, require, scoped
from .columns import Columns
from .schema import Schema
from .snapshot import RowSnapshot

if TYPE_CHECKING:
    from .buffer import ReplayBuffer

FORMAT = 1
_CHUNK_BYTES = 512 << 10  # read under the lock at one time: about as long as one sample


def export_index(buffer: ReplayBuffer) -> BufferState:
    """All state but the rows' columns. The caller holds the lock."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "schema": buffer._columns.schema.to_dict(),
        "capacity": buffer._slots.capacity,
        "max_times_sampled": buffer._max_times_sampled,
        "inserted": buffer._inserted,
        "sampled": buffer._sampled,
        "draws": buffer._draws,
        "max_priority": buffer._max_priority,
        "rng": buffer._rng.bit_generator.state,
        "remover_rng": buffer._remover_rng.bit_generator.state,
    }
    arrays: Arrays = {}
    for name, part in (("slots", buffer._slots), ("sampler", buffer._sampler), ("remover", buffer._remover)):
        part_values, part_arrays = part.export_state()
        values[name] = part_values
        arrays.update({f"{name}/{key}": array for key, array in part_arrays.items()})
    values["sampler_is"] = buffer._sampler.describe()
    values["remover_is"] = buffer._remover.describe()
    if buffer._priorities is not None:
        arrays["priorities"] = buffer._priorities.copy()
    if buffer._times_sampled is not None:
        arrays["times_sampled"] = buffer._times_sampled.copy()
    return BufferState(values, arrays)


def export_state(buffer: ReplayBuffer) -> BufferState:
    """The whole state, copied at once. The caller holds the lock."""
    values, arrays = export_index(buffer)
    rows = buffer._columns.gather(buffer._slots.live())
    arrays.update({f"rows/{name}": column for name, column in rows.items()})
    return BufferState(values, arrays)


class PendingCheckpoint:
    """The state of the moment at which it is made, to be written (or read) while others go on.

    `write` or `forget` it soon: until then rows that are overwritten are set aside. Not for two threads.
    """

    @property
    def index(self) -> BufferState:
        """All of it but the rows."""
        return self._index

    @property
    def remaining(self) -> int:
        """Rows that `next_rows` has not given so far."""
        return self._snapshot.remaining

    def next_rows(self, count: int) -> tuple[int, Columns]:
        """The next ``count`` rows (fewer at the end), and how many came before them."""
        before = self._rows - self._snapshot.remaining
        with self._buffer._lock:
            return before, self._snapshot.next_chunk(count)

    def __init__(self, buffer: ReplayBuffer) -> None:
        self._buffer = buffer
        with buffer._lock:
            self._index = export_index(buffer)
            self._schema = buffer._columns.schema
            live = buffer._slots.live()
            self._rows = int(live.size)
            self._snapshot = RowSnapshot(buffer._columns, live)
            self._chunk_rows = max(1, _CHUNK_BYTES // max(1, buffer._columns.row_nbytes))
            buffer._snapshots.append(self._snapshot)

    def write(self, path: str | Path, extra: Mapping[str, Any] | None = None) -> None:
        """Write the file. ``extra`` (as JSON has it) is kept beside and has no meaning here."""
        values = self._index.values if extra is None else {**self._index.values, "extra": dict(extra)}
        try:
            with CheckpointWriter(path) as writer:
                writer.set_values(values)
                for name, array in self._index.arrays.items():
                    writer.add(name, array)
                for spec in self._schema:
                    writer.reserve(f"rows/{spec.name}", spec.dtype, (self._rows, *spec.shape))
                while self._snapshot.remaining:
                    _, chunk = self.next_rows(self._chunk_rows)
                    for name, column in chunk.items():
                        writer.append(f"rows/{name}", column)
        finally:
            self.forget()

    def forget(self) -> None:
        """Stop setting rows aside. Twice is fine."""
        with self._buffer._lock:
            if self._snapshot in self._buffer._snapshots:
                self._buffer._snapshots.remove(self._snapshot)


def read_checkpoint(path: str | Path) -> BufferState:
    """A checkpoint's state, every byte checked."""
    reader = CheckpointReader(path)
    written = reader.values.get("format")
    if written != FORMAT:
        kind = NewerFormat if type(written) is int and written > FORMAT else CorruptData
        raise kind(
            f"{path} has format {written!r}, and this version reads {FORMAT}: use the version of the library "
            "that wrote it"
        )
    reader.verify()
    return reader.state()


def schema_of(state: BufferState) -> Schema:
    return Schema.from_dict(state.values["schema"])


def import_state(buffer: ReplayBuffer, state: BufferState) -> None:
    """Become what ``state`` says. Everything is checked first; the caller holds the lock."""
    import_index(buffer, state)
    if buffer._slots.count:
        import_rows(buffer, 0, scoped("rows", state.arrays))


def import_rows(buffer: ReplayBuffer, start: int, columns: Mapping[str, Any]) -> None:
    """Write the columns of rows, in the order of `export_state`, from row ``start`` on; then the next ones.

    The last rows complete the import. The caller holds the lock; nothing has changed since `import_index`.
    """
    names = buffer._columns.schema.names
    stop = start + len(columns[names[0]])
    buffer._columns.write(buffer._slots.live()[start:stop], [columns[name] for name in names])
    if stop == buffer._slots.count:
        _import_selectors(buffer)


def import_index(buffer: ReplayBuffer, state: BufferState) -> None:
    """`import_state` but for the rows, which must follow. Everything is checked first, under the lock."""
    values, arrays = state
    _check_fit(buffer, values, schema_of(state))
    if not buffer._built:
        buffer._build(schema_of(state))
    for snapshot in buffer._snapshots:  # a checkpoint that is being written is of the old rows
        snapshot.before_overwrite(np.arange(buffer._slots.capacity))
    replaced = buffer._slots.live()
    if replaced.size:
        for selector in buffer._indexed:
            selector.remove(replaced)
    buffer._slots.import_state(values["slots"], scoped("slots", arrays))
    if buffer._priorities is not None:
        buffer._priorities[:] = arrays["priorities"]
    if buffer._times_sampled is not None:
        buffer._times_sampled[:] = arrays["times_sampled"]
    buffer._inserted = int(values["inserted"])
    buffer._sampled = int(values["sampled"])
    buffer._draws = int(values["draws"])
    buffer._max_priority = float(values["max_priority"])
    buffer._rng.bit_generator.state = values["rng"]
    buffer._remover_rng.bit_generator.state = values["remover_rng"]
    buffer._coming = state
    if not buffer._slots.count:
        _import_selectors(buffer)


def _check_fit(buffer: ReplayBuffer, values: Mapping[str, Any], schema: Schema) -> None:
    """Raise `InvalidValue` unless the buffer can become what a checkpoint says."""
    if buffer._built:
        ours = buffer._columns.schema
        require(schema == ours, f"The checkpoint holds {schema}, the buffer {ours}.")
    capacity = buffer._slots.capacity if buffer._built else buffer._capacity_for(schema)
    for what, theirs, own in (
        ("capacity", values["capacity"], capacity),
        ("max_times_sampled", values["max_times_sampled"], buffer._max_times_sampled),
        ("sampler", values["sampler_is"], buffer._sampler.describe()),
        ("remover", values["remover_is"], buffer._remover.describe()),
    ):
        require(
            theirs == own,
            f"{what} is {own} here and {theirs} in the checkpoint. Make the buffer alike, or read the rows "
            "with CheckpointReader and insert them.",
        )
    shard = values["slots"]["shard"]
    require(
        shard == buffer._shard,
        f"The checkpoint is of shard {shard}, this is shard {buffer._shard}: its handles differ.",
    )


def _import_selectors(buffer: ReplayBuffer) -> None:
    """The last step of an import: a selector may look at the rows, so they must all be there."""
    state, buffer._coming = buffer._coming, None
    assert state is not None
    for name, selector in (("sampler", buffer._sampler), ("remover", buffer._remover)):
        selector.rebuild()
        selector.import_state(state.values[name], scoped(name, state.arrays))
    buffer._wake()
