"""What the directory of a replay buffer hears, and what it wants done: the vocabulary of `DirectoryCore`."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.events import Tick as Tick
from .model import Layout, Replica, ShardView

# -- events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that are alive and may carry shards."""

    alive: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Greeted:
    """A replica answered: who it is, the number of its view, and the candidate that it has in sync."""

    replica: Replica
    shard: int
    view_number: int
    in_sync: Replica | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A call to an actor failed. `dead`: it will not come back under any incarnation."""

    actor: str
    dead: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """The proposed layout is in the log."""

    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody else has written that number; `newest` is what the log says."""

    newest: Layout


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The log has something newer, which a directory that was thought to be gone has written."""

    newest: Layout


@dataclass(frozen=True, slots=True)
class AddShards:
    """An operator wants more shards."""

    count: int


@dataclass(frozen=True, slots=True)
class DrainShard:
    """An operator wants a shard to give its rows to the others."""

    shard: int


@dataclass(frozen=True, slots=True)
class Drained:
    """A draining shard holds nothing any more; `heir` has its writers' marks."""

    shard: int
    heir: int


Event = (
    Nodes | Greeted | Unreachable | Recorded | Refused | Overtaken | AddShards | DrainShard | Drained | Tick
)

# -- commands -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Write this layout to the log, unless there is one of its number."""

    layout: Layout


@dataclass(frozen=True, slots=True)
class Tell:
    """A replica is to adopt a recorded view."""

    replica: Replica
    view: ShardView


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start an actor for a shard on a node."""

    actor: str
    shard: int
    node: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """End an actor that serves nothing."""

    actor: str


Command = Record | Tell | StartReplica | StopReplica
