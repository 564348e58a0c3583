"""What the coordinator core is told: by its start-up, by clients, by members, by the health watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .inventory import Inventory
from .model import MemberId, MemberInfo, Outcome, Refusal, RequestId, StoreOptions, Version, View


@dataclass(frozen=True, slots=True)
class Start:
    """First event. `view`: the newest entry of the view log (None: there is none).

    `members`: the tier actors that answered when they were asked who they are.
    """

    view: View | None
    members: tuple[MemberInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewPersisted:
    """Entry `number` of the log is ours. `asked_s` is the clock just before the KV was asked."""

    number: int
    asked_s: float


@dataclass(frozen=True, slots=True)
class ViewRefused:
    """Somebody else has written that entry; `view` is the newest one."""

    view: View
    asked_s: float


@dataclass(frozen=True, slots=True)
class ViewChecked:
    """The answer to `CheckView`, whose `asked_s` it repeats."""

    number: int
    asked_s: float
    newer: View | None = None


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A tier actor announces itself (again, perhaps in a new life)."""

    info: MemberInfo


@dataclass(frozen=True, slots=True)
class MemberLost:
    """This life of the member is dead, or has not answered for as long as the shell tolerates."""

    member: MemberId
    incarnation: int


@dataclass(frozen=True, slots=True)
class DrainNode:
    """Move everything off the node; it takes no new data. `undo` takes that back."""

    node: str
    undo: bool = False


@dataclass(frozen=True, slots=True)
class DeclareGone:
    """The operator gives a member up: its disk will not be waited for, and is quarantined on return."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class StoreMany:
    """Store `keys[i]`, of `sizes[i]` bytes, which the payload holds at position i. Keys are distinct."""

    request: RequestId
    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    payload: Any
    options: StoreOptions = field(default_factory=StoreOptions)


@dataclass(frozen=True, slots=True)
class DeleteMany:
    """Delete keys. Keys are distinct."""

    request: RequestId
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocateMany:
    """Where are these keys? Also serves `exists`. `node` is the reader's: near copies come first.

    `touch`: count this as a use of the keys.
    """

    request: RequestId
    keys: tuple[str, ...]
    node: str = ""
    touch: bool = True


@dataclass(frozen=True, slots=True)
class ListKeys:
    """All keys with a prefix, sorted."""

    request: RequestId
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class MoveMany:
    """Move keys to a tier (of `node`, or of the node where each is).

    `unpinned_only`: leave keys alone that are pinned by the time they would move; they answer STALE.
    """

    request: RequestId
    keys: tuple[str, ...]
    tier: str
    node: str = ""
    unpinned_only: bool = False


@dataclass(frozen=True, slots=True)
class UpdateKeys:
    """Change `pinned`, `priority`, `expires_s` (and what only the shell knows) of keys, not their values."""

    request: RequestId
    keys: tuple[str, ...]
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CopyCorrupt:
    """A reader found that a copy does not match its checksum."""

    key: str
    version: Version
    member: MemberId
    incarnation: int


@dataclass(frozen=True, slots=True)
class Done:
    """A member's answer to a command. `outcomes` is None where every key went well."""

    member: MemberId
    incarnation: int
    stamp: int
    outcomes: tuple[Outcome, ...] | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class InventoryReported:
    """A member's answer to `TakeInventory`."""

    member: MemberId
    incarnation: int
    stamp: int
    inventory: Inventory


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. To be sent a few times a second."""


ClientEvent = StoreMany | DeleteMany | LocateMany | ListKeys | MoveMany | UpdateKeys
MemberEvent = Done | InventoryReported
Event = (
    Start
    | ViewPersisted
    | ViewRefused
    | ViewChecked
    | MemberJoined
    | MemberLost
    | DrainNode
    | DeclareGone
    | ClientEvent
    | CopyCorrupt
    | MemberEvent
    | Tick
)
