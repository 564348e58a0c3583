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
    """One key. The bytes come in one of three ways: `ref` to a list of byte arrays in this node's shared
    memory, the `path` of a file on this node, or `arrays`, which Ray brings over from another node."""

    state: ReadState
    version: Version = Version()
    header: bytes = b""
    lengths: tuple[int, ...] = ()
    path: str = ""
    ref: ray.ObjectRef[Any] | None = None
    arrays: tuple[Bytes, ...] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ReadMany:
    """Read keys, each in exactly the version that the reader was sent for, in this life of the member.

    `node` is the reader's: on the tier's own node large values are answered with a reference or a path.
    Without versions it is a guess, made before the coordinator has said where to read: whatever version is
    here is answered, where that costs nothing, and counts only if the coordinator then names exactly it.
    """

    incarnation: int
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    node: str

    @property
    def is_guess(self) -> bool:
        """Whether the reader does not know yet where the keys are."""
        return not self.versions


@dataclass(frozen=True, slots=True)
class Readings:
    """Many keys, as columns. `others` has, by position, every key that is not a small value that was read;
    the bytes of small value i are those of the slab from `ends[i - 1]` to `ends[i]`."""

    headers: tuple[bytes, ...]
    lengths: tuple[tuple[int, ...], ...]
    ends: tuple[int, ...]
    slab: bytes | Bytes
    others: Mapping[int, Reading]
    versions: tuple[Version, ...] = ()
    """Of a guess: what was read, in the order of the keys; the zero version where nothing was."""

    @property
    def is_plain(self) -> bool:
        """Whether it may travel as bytes of our own: there is nothing that Ray moves without a copy."""
        return isinstance(self.slab, bytes) and all(
            reading.ref is None and reading.arrays is None for reading in self.others.values()
        )
