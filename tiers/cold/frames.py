"""Frames: the entries of a segment. Each says what it is and where it belongs, under its own checksum.

A frame is a header of fixed size, a description (key, packed record, how its buffers are stored), and
for a small value the buffers themselves. The copy of a frame in the index file beside the segment is
header and description without the buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
from xxhash import xxh3_64_digest, xxh3_64_intdigest

from ...errors import CorruptData
from ..packing import pack

MAGIC = b"\x89MFr"
_HEADER = struct.Struct("<4sIIIQQQQQ")
"""Magic, kind, bytes of the description, bytes of the buffers, generation, target, segment, offset, and
the checksum of all that and of the description."""
_CHECKED_HEADER = struct.Struct("<4sIIIQQQQ")
HEADER_BYTES = _HEADER.size
_CHECKED = _CHECKED_HEADER.size
ALIGNMENT = 16
_ZEROS = bytes(ALIGNMENT)


class Kind(IntEnum):
    """What a frame says of its key."""

    PUT = 1
    """It has this record and these buffers."""
    FILE = 2
    """It has this record, and its buffers are in a file of its own."""
    UPDATE = 3
    """It has this record now; its buffers are where the target generation put them."""
    DELETE = 4
    """It is gone."""


_KINDS = {int(kind): kind for kind in Kind}


class Description(NamedTuple):
    """The variable part of a frame."""

    key: str
    record: bytes = b""
    stored_lengths: tuple[int, ...] = ()
    compression: str = "none"
    suffix: str = ""

    def pack(self) -> bytes:
        """As msgpack."""
        return pack((self.key.encode("utf-8", "surrogatepass"), *self[1:]))


class NewFrame(NamedTuple):
    """A frame that has no place yet, with its buffers."""

    kind: Kind
    generation: int
    target: int
    packed: bytes
    payload: Sequence[memoryview]
    """Padded to the alignment."""
    payload_bytes: int


class Frame(NamedTuple):
    """A frame of a segment, its description still packed."""

    kind: Kind
    generation: int
    target: int
    segment: int
    offset: int
    packed: bytes
    payload_bytes: int
    payload_offset: int
    """Where the buffers begin in the segment."""
    end: int
    """Where the next frame begins."""

    @property
    def head(self) -> bytes:
        """Header and description, padded up to the buffers."""
        return pack_head(
            self.kind,
            self.generation,
            self.target,
            self.segment,
            self.offset,
            self.packed,
            self.payload_bytes,
        )

    def description(self) -> Description:
        """What the frame says of its key."""
        return unpack_description(self.packed)


def unpack_description(packed: bytes) -> Description:
    """The inverse of `Description.pack`. Raises `CorruptData`."""
    try:
        key, record, lengths, compression, suffix = msgpack.unpackb(packed, use_list=False)
        return Description(str(key, "utf-8", "surrogatepass"), record, lengths, compression, suffix)
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise CorruptData(f"description of a frame cannot be read: {error}") from error


def aligned(nbytes: int) -> int:
    """Rounded up, so that arrays in a frame are aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def pack_head(
    kind: int, generation: int, target: int, segment: int, offset: int, packed: bytes, payload_bytes: int
) -> bytes:
    """Header and description of a frame, padded up to its buffers."""
    checked = _CHECKED_HEADER.pack(
        MAGIC, kind, len(packed), payload_bytes, generation, target, segment, offset
    )
    digest = xxh3_64_digest(checked + packed)[::-1]  # which is big-endian, and the header is not
    return b"".join((checked, digest, packed, _ZEROS[: -(HEADER_BYTES + len(packed)) % ALIGNMENT]))


def unpack_head(content: Any, at: int) -> Frame | None:
    """The frame whose header starts at `at`, or None where there is no whole and undamaged one."""
    if at + HEADER_BYTES > len(content):
        return None
    magic, kind, packed_bytes, payload_bytes, generation, target, segment, offset, digest = (
        _HEADER.unpack_from(content, at)
    )
    end = at + HEADER_BYTES + packed_bytes
    if magic != MAGIC or kind not in _KINDS or end > len(content):
        return None
    packed = bytes(content[at + HEADER_BYTES : end])
    if xxh3_64_intdigest(bytes(content[at : at + _CHECKED]) + packed) != digest:
        return None
    payload_offset = offset + -(-(HEADER_BYTES + packed_bytes) // ALIGNMENT) * ALIGNMENT
    frame_end = payload_offset + -(-payload_bytes // ALIGNMENT) * ALIGNMENT
    return Frame(
        _KINDS[kind], generation, target, segment, offset, packed, payload_bytes, payload_offset, frame_end
    )
