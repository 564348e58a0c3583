"""`Reading`: what a tier actor answers to a reader, in the way that costs the reader least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    metadata: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
