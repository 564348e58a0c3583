"""What happens to a shard, and what it wants done: the vocabulary of `ShardCore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....replay.packed_batch import PackedBatch
from ...core.events import Tick as Tick
from .model import Replica, ShardView
from .state_export import StatePiece

CallId = int
"""Names a call that waits for its answer in this process."""

# -- operations: what the replicas of a shard do in the same order ------------------------------------


@dataclass(frozen=True, slots=True)
class InsertRows:
    """A numbered batch. `floor`: the lowest number that its writer has no answer for."""

    writer: str
    logical: int
    number: int
    floor: int
    columns: Mapping[str, Any] | PackedBatch
    priorities: Any = None

    @property
    def rows(self) -> int:
        """How many there are."""
        if isinstance(self.columns, PackedBatch):
            return len(self.columns)
        return len(next(iter(self.columns.values())))

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        if isinstance(self.columns, PackedBatch):
            return self.columns.nbytes
        return sum(column.nbytes for column in self.columns.values())


@dataclass(frozen=True, slots=True)
class SetPriorities:
    """New priorities for rows that are still there."""

    handles: Any
    priorities: Any


@dataclass(frozen=True, slots=True)
class TakeRows:
    """The next rows of a queue or a stack leave, for a reader, who numbers its takes at a logical shard.

    It has one under way: the same number again gives the same rows, a new one says that the last arrived.
    """

    reader: str
    logical: int
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class RemoveRows:
    """Rows that leave."""

    handles: Any


@dataclass(frozen=True, slots=True)
class TakeMarks:
    """What another shard has taken of its writers' batches, now that this one answers for it.

    And, of a queue or a stack, what it last gave to each reader (`ReplicatedRows.taken`).
    """

    marks: Any
    taken: Any = ()


@dataclass(frozen=True, slots=True)
class ReplaceRows:
    """Hold these rows (a `RowsState`) in place of all that are here. What writers were told stays true."""

    state: Any


@dataclass(frozen=True, slots=True)
class CloseInserts:
    """No batch is taken any more: the shard is about to give its rows away."""


@dataclass(frozen=True, slots=True)
class PlanMove:
    """These rows are about to go to another shard, as batch `number` of the mover."""

    number: int
    target: int
    handles: Any


@dataclass(frozen=True, slots=True)
class FinishMove:
    """The other shard has the rows of the plan: they leave this one."""

    number: int


Operation = (
    InsertRows
    | SetPriorities
    | TakeRows
    | RemoveRows
    | TakeMarks
    | ReplaceRows
    | CloseInserts
    | PlanMove
    | FinishMove
)

# -- events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Propose:
    """A client wants this done."""

    call: CallId
    operation: Operation


@dataclass(frozen=True, slots=True)
class Adopt:
    """A view that is recorded."""

    view: ShardView


@dataclass(frozen=True, slots=True)
class AcceptOperations:
    """From the primary to its backup: operations number `first` and following. The view is recorded."""

    call: CallId
    view: ShardView
    first: int
    operations: tuple[Operation, ...]
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class Install:
    """From the primary to a candidate: a piece of everything, as it was after operation number `applied`."""

    call: CallId
    view: ShardView
    applied: int
    piece: StatePiece


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """From backup to primary: `applied` is the last operation it has done, or `newer` deposes the asker.

    `pieces`: a candidate has so many pieces of the state by now, and not all of them. Also what a primary is
    told where its peer gave no answer: then all are None.
    """

    replica: Replica
    view_number: int
    applied: int | None = None
    newer: ShardView | None = None
    pieces: int | None = None


Event = Propose | Adopt | AcceptOperations | Install | PeerAnswer | Tick

# -- commands -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's answer."""

    call: CallId
    value: Any


@dataclass(frozen=True, slots=True)
class SendOperations:
    """To the peer, as `AcceptOperations`."""

    to: Replica
    view: ShardView
    first: int
    operations: tuple[Operation, ...]
    sampled: int


@dataclass(frozen=True, slots=True)
class SendState:
    """To the candidate, as `Install`."""

    to: Replica
    view: ShardView
    applied: int
    piece: StatePiece


@dataclass(frozen=True, slots=True)
class ReportInSync:
    """To the directory: the candidate of this view holds all that this primary has acknowledged."""

    shard: int
    view_number: int
    candidate: Replica


Command = Answer | SendOperations | SendState | ReportInSync

# -- answers to clients -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """The operation took effect, now or when it was first sent. `result` as the buffer gave it."""

    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class NotPrimary:
    """Ask somebody else; nothing was done. `view` is the newest that this replica knows."""

    view: ShardView | None


@dataclass(frozen=True, slots=True)
class Full:
    """A queue or a stack has no room for the batch until rows were taken; nothing was done."""
