"""Names and small values that every part of the core speaks of: members, views, outcomes, fences."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from ...tiers.record import Version

MemberId = str
"""A tier on a node, such as "n1/warm" or "n2/hot0": stable over restarts of its actor."""

Clients = tuple[tuple[str, int], ...]
"""Highest request sequence of each client that a key has seen, the latest writer last."""

STAMP_BITS = 40
"""A stamp is (epoch << STAMP_BITS) + the number of a command within its epoch."""

TIER_ORDER = ("hot", "warm", "cold", "glacier")
"""From the fastest to the most patient tier; data sinks to the right and rises to the left."""


class RequestId(NamedTuple):
    """Who asks, and which of its requests this is. Repeating a request repeats its id."""

    client: str
    sequence: int


class Kind(IntEnum):
    """What a member keeps under a key."""

    VALUE = 0
    TOMBSTONE = 1
    """The key was deleted at this version."""
    SUPERSEDED = 2
    """A value of this version was written, on other members; where it is nowhere, it was lost."""


class Outcome(IntEnum):
    """What became of one key of a command or a request."""

    OK = 0
    FULL = 1
    """There is no room; nothing was changed."""
    STALE = 2
    """The member has something newer, or a later command has been there before; nothing was changed."""
    MISSING = 3
    """The key, in this version, is not there."""
    CORRUPT = 4
    """The bytes do not match their checksum."""
    ERROR = 5
    """The medium failed; nothing was changed."""
    TOO_FEW_NODES = 6
    """Fewer live nodes than the copies that were asked for; nothing was changed."""
    UNAVAILABLE = 7
    """The answer cannot be known now."""
    LOST = 8
    """Every copy of the value is gone."""
    UNKNOWN = 9
    """The request may or may not have taken effect."""


class Refusal(StrEnum):
    """Why a member did not carry out a command."""

    EPOCH = "epoch"
    """The member has seen a newer coordinator."""
    INCARNATION = "incarnation"
    """The command was meant for an earlier life of the member."""
    SETTLED = "settled"
    """The coordinator has said before that this command is over."""
    RUNNING = "running"
    """It was sent before, and whoever sent it then gets its answer when it is done."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """One tier actor, in one life.

    `highest_epoch` is the newest epoch that it, or its disk, has seen. `clean`: no coordinator has given
    it a command in this life. A life that was used and has dropped out of the view cannot join again.
    """

    member: MemberId
    node: str
    tier: str
    incarnation: int
    durable: bool
    capacity_bytes: int
    highest_epoch: int = 0
    clean: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """Who belongs to the cluster. Entry `number` of a log to which one writer at a time can append.

    `away` are durable members that are down and whose disk may come back. `gone` are those that the
    operator gave up: their disk is quarantined on return. `owner` names the coordinator process that
    wrote the entry. `unverified` are members whose disk was away: what it holds may have been outdone
    meanwhile, by something that is on disks that are away now, and is not trusted until all are heard.
    """

    number: int
    epoch: int
    owner: str
    members: tuple[MemberInfo, ...] = ()
    away: tuple[MemberId, ...] = ()
    gone: tuple[MemberId, ...] = ()
    unverified: tuple[MemberId, ...] = ()


@dataclass(frozen=True, slots=True)
class Fence:
    """What a member checks before it obeys: the coordinator's epoch, its own life, and the order.

    Stamps grow with every command of a coordinator and from epoch to epoch. `settled`: every command
    with a smaller stamp is over, and must not take effect any more if it still arrives.
    """

    member: MemberId
    incarnation: int
    epoch: int
    stamp: int
    settled: int


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What a store asks for. `node` is the writer's; `tier` None lets the core choose."""

    node: str = ""
    tier: str | None = None
    replicas: int = 1
    durable: bool = False
    allow_degraded: bool = False
    priority: float = 0.0
    expires_s: float | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Times and limits of the coordinator. Seconds are those of the clock that is passed in."""

    lease_s: float = 3.0
    """For so long after the view log was last found unchanged a coordinator may act."""
    lease_margin_s: float = 1.0
    """A new coordinator waits lease + margin before it goes on without a member that does not answer."""
    resend_after_s: float = 2.0
    give_up_s: float = 30.0
    """A store that finds too few members fails after this long."""
    tombstone_retention_s: float = 150.0
    """Longer than any client repeats a request: tombstones also hold what tells a repeat from news."""
    transfer_keys: int = 1024
    """Most keys in one background copy."""
    transfer_bytes: int = 64 << 20
    """Most bytes in one background copy (one larger value travels alone)."""
    transfers_in_flight: int = 4
    """Most background copies at a time towards one member."""
    high_watermark: float = 0.9
    low_watermark: float = 0.8
    marks: int = 2
    """On so many nodes a deletion is written down while a disk that may hold the key is away."""
    clients_per_key: int = 64
    """Most clients whose last request a key remembers; the longest unseen is dropped."""
    default_tier: str = "warm"
    tiers: tuple[str, ...] = field(default=TIER_ORDER)


__all__ = [
    "STAMP_BITS",
    "TIER_ORDER",
    "Clients",
    "CoreConfig",
    "Fence",
    "Kind",
    "MemberId",
    "MemberInfo",
    "Outcome",
    "Refusal",
    "RequestId",
    "StoreOptions",
    "Version",
    "View",
]
