"""`Reading`, `Readings`: what a tier actor answers to a reader, in the way that costs the reader least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import ray

from ..tiers.record import Version
from .parcel import Bytes


class ReadState(IntEnum):
    """How the reading of one key went."""

    OK = 0
    GONE = 1
    """The key, in this version, is not here (any more): ask the coordinator again."""
    CORRUPT = 2
    """The copy does not match its checksum; the coordinator should know."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One key. The bytes come in one of three ways: `inline` (buffers joined), `ref` to a list of byte
    arrays in this node's shared memory, or `arrays`, which Ray brings over from another node."""

    state: ReadState
    version: Version = Version()
    header: bytes = b""
    lengths: tuple[int, ...] = ()
    inline: bytes | None = None
    ref: ray.ObjectRef[Any] | None = None
    arrays: tuple[Bytes, ...] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ReadMany:
    """Read keys, each in exactly the version that the reader was sent for, in this life of the member.

    `node` is the reader's: on the tier's own node large values are answered with a reference.
    """

    incarnation: int
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    node: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Many keys, as columns. `others` has, by position, every key that is not a small value that was read;
    the bytes of small value i are those of the slab from `ends[i - 1]` to `ends[i]`."""

    headers: tuple[bytes, ...]
    lengths: tuple[tuple[int, ...], ...]
    ends: tuple[int, ...]
    slab: bytes | Bytes
    others: Mapping[int, Reading]

    @property
    def is_plain(self) -> bool:
        """Whether it may travel as bytes of our own: there is nothing that Ray moves without a copy."""
        return isinstance(self.slab, bytes) and all(
            reading.ref is None and reading.arrays is None for reading in self.others.values()
        )
