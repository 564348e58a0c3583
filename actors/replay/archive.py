"""`ReplayArchive`: old rows of a replay buffer in the cold tier, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidValue
from ...replay.batch import Batch
from ...replay.handles import LOCAL_BITS
from ..calls import Deadline
from .routing import Router, ask_shard
from .shard_actor import OldRows
from .spec import ReplaySpec

if TYPE_CHECKING:
    from ..memory_manager import MemoryManager

PREFIX = "replay-archive"
BLOCK_BYTES = 4 << 20
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class ArchivedBlock:
    """Rows that were put away together, under one key of the memory."""

    key: str
    shard: int
    first: int  # the handle that the oldest row had: blocks of a shard sort by age
    rows: int


class ReplayArchive:
    """Rows are in the buffer or in the archive, at one moment in both and never in neither.

        archive = replay.archive(cluster.memory())
        archive.put_away(500_000)              # the oldest rows: durable in the cold tier, then gone from RAM
        for batch in archive:                  # read them there, a block at a time
            ...
        archive.bring_back(100_000)            # insert them again, the oldest first

    Each call may be repeated after a failure, by whoever goes on: what was stored and not removed is removed
    first, and a block enters the buffer once. Not for a queue or a stack, whose rows leave when they are
    taken. Not thread-safe; one process at a time should put away or bring back.
    """

    def __init__(self, router: Router, spec: ReplaySpec, memory: MemoryManager) -> None:
        if spec.ordered:
            raise InvalidValue(
                f"Rows of a {spec.kind} leave when they are taken: there is nothing to put away."
            )
        self._router, self._spec, self._memory = router, spec, memory
        self._prefix = f"{PREFIX}/{spec.name}/"
        self._block_rows = max(1, BLOCK_BYTES // max(1, spec.schema.row_nbytes))

    def __len__(self) -> int:
        """Rows in the archive."""
        return sum(block.rows for block in self.blocks())

    def __iter__(self) -> Iterator[Batch]:
        """The blocks, each a batch of rows as they were put away; their handles name nothing any more."""
        for block in self.blocks():
            value = self._memory.retrieve(block.key)
            yield Batch(value["columns"], value["handles"], population=block.rows)

    def blocks(self) -> list[ArchivedBlock]:
        """What there is, shard by shard, oldest first."""
        return [self._block_of(key) for key in self._memory.keys(self._prefix)]

    def put_away(self, rows: int, *, timeout_s: float = TIMEOUT_S) -> int:
        """Move the oldest rows, of each shard its part, into the cold tier; returns how many went.

        A row that is overwritten meanwhile is kept in the archive all the same. A priority that is set
        meanwhile is not.
        """
        deadline = Deadline.after(timeout_s, f"putting away {rows} rows of replay buffer {self._spec.name!r}")
        layout = self._router.refresh(deadline.remaining_s())
        if layout.draining:
            raise InvalidValue(
                f"shards {layout.draining} are being drained: wait, or a row could be put away and moved"
            )
        self._finish_removing(deadline)
        held = {s: ask_shard(self._router, s, "mass", deadline).rows for s in layout.open_shards}
        total = sum(held.values())
        wanted = min(rows, total)
        put = before = 0
        for shard, count in held.items():
            # The parts of all shards add up to what is wanted.
            until = before + count
            share = wanted * until // total - wanted * before // total if total else 0
            before = until
            put += self._put_away_of(shard, share, deadline)
        return put

    def bring_back(self, rows: int | None = None, *, timeout_s: float = TIMEOUT_S) -> int:
        """Insert archived rows again, whole blocks and the oldest first, until so many are back (None: all).

        They have their priorities, and new handles. Where a shard is full its oldest rows leave.
        """
        deadline = Deadline.after(timeout_s, f"bringing back rows of replay buffer {self._spec.name!r}")
        brought = 0
        for block in sorted(self.blocks(), key=_age):
            if rows is not None and brought >= rows:
                break
            value = self._memory.retrieve(block.key)
            # The key is the writer: whoever repeats this finds that the shard has the block.
            arguments = (block.key, block.shard, 1, 1, value["columns"], value.get("priorities"))
            ask_shard(self._router, block.shard, "insert", deadline, *arguments)
            self._memory.delete(block.key, timeout_s=deadline.remaining_s())
            brought += block.rows
        return brought

    def delete(self) -> int:
        """Forget all that is archived; returns how many rows that was."""
        blocks = self.blocks()
        self._memory.delete_many([block.key for block in blocks])
        return sum(block.rows for block in blocks)

    # -- parts ----------------------------------------------------------------------------------------

    def _put_away_of(self, shard: int, count: int, deadline: Deadline) -> int:
        put = 0
        while put < count:
            found: OldRows = ask_shard(
                self._router, shard, "oldest", deadline, min(self._block_rows, count - put)
            )
            if not found.handles.size:
                break
            value: dict[str, Any] = {"columns": dict(found.columns), "handles": found.handles}
            if found.priorities is not None:
                value["priorities"] = found.priorities
            key = f"{self._prefix}{shard:04d}/{found.handles[0]:016x}/{found.handles.size}"
            self._memory.store(key, value, tier="cold", durable=True, timeout_s=deadline.remaining_s())
            ask_shard(self._router, shard, "remove", deadline, found.handles)
            put += int(found.handles.size)
        return put

    def _finish_removing(self, deadline: Deadline) -> None:
        """Whoever stored a shard's last block may have died before its rows left the shard."""
        newest = {block.shard: block for block in sorted(self.blocks(), key=_age)}
        for shard, block in newest.items():
            if self._router.layout().view(shard) is not None:
                handles = self._memory.retrieve(block.key)["handles"]
                ask_shard(self._router, shard, "remove", deadline, np.array(handles))

    def _block_of(self, key: str) -> ArchivedBlock:
        shard, first, rows = key.removeprefix(self._prefix).split("/")
        return ArchivedBlock(key, int(shard), int(first, 16), int(rows))


def _age(block: ArchivedBlock) -> tuple[int, int]:
    """By the handle within the shard, which grows with time."""
    return block.first & ((1 << LOCAL_BITS) - 1), block.shard
