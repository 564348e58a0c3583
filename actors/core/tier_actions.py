"""What a `TierCore` has its shell do, and how the shell tells it what came of that."""

from __future__ import annotations

from dataclasses import dataclass

from .commands import CopyMany, MemberCommand
from .events import Done, InventoryReported
from .model import MemberInfo, Outcome
from .slot_table import Slot


@dataclass(frozen=True, slots=True)
class Write:
    """Make `slots[i]` what the store keeps under `keys[i]`, atomically for each key; answer `Written`.

    The bytes are those of position `rows[i]` of the command: of its payload (`PutMany`), of what was
    fetched (`CopyMany`); a mark has none; `UpdateMany` keeps those that are there.
    """

    ticket: int
    command: MemberCommand
    rows: tuple[int, ...]
    keys: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Make the store forget these keys, for good where it is durable; answer `Written`."""

    ticket: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the values from the source, verify their checksums, keep them at hand; answer `Fetched`."""

    ticket: int
    command: CopyMany


@dataclass(frozen=True, slots=True)
class Wipe:
    """Forget every value (of a volatile tier): this life is over."""


@dataclass(frozen=True, slots=True)
class Respond:
    """Tell the coordinator."""

    answer: Done | InventoryReported


@dataclass(frozen=True, slots=True)
class AnnounceMember:
    """Tell the coordinator who we are now, until it asks for the inventory."""

    info: MemberInfo


Action = Write | Erase | Fetch | Wipe | Respond | AnnounceMember


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a `Write` or an `Erase`; None: all went well."""

    ticket: int
    outcomes: tuple[Outcome, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a `Fetch`: for each key the slot at the source (its stamp does not matter), or why not.

    A source that does not answer is UNAVAILABLE, one that has another version is MISSING.
    """

    ticket: int
    slots: tuple[Slot | Outcome, ...]
