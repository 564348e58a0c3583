"""Frames: the entries of a segment. Each says what it is and where it belongs, under its own checksum.

A frame is a header of fixed size, a description (key, packed record, how its buffers are stored), and
for a small value the buffers themselves. The copy of a frame in the index file beside the segment is
header and description without the buffers.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack
from xxhash import xxh3_64_intdigest

from ...errors import CorruptData

MAGIC = b"\x89MFr"
_HEADER = struct.Struct("<4sIIIQQQQQ")
"""Magic, kind, bytes of the description, bytes of the buffers, generation, target, segment, offset, and
the checksum of all that and of the description."""
HEADER_BYTES = _HEADER.size
_CHECKED = HEADER_BYTES - 8
ALIGNMENT = 16


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
        return bytes(msgpack.packb((self.key.encode("utf-8", "surrogatepass"), *self[1:]), use_bin_type=True))


class Frame(NamedTuple):
    """A frame that was read, its description still packed."""

    kind: Kind
    generation: int
    target: int
    segment: int
    offset: int
    packed: bytes
    payload_bytes: int

    @property
    def payload_offset(self) -> int:
        """Where the buffers begin in the segment."""
        return self.offset + -(-(HEADER_BYTES + len(self.packed)) // ALIGNMENT) * ALIGNMENT

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.payload_offset + -(-self.payload_bytes // ALIGNMENT) * ALIGNMENT

    def description(self) -> Description:
        """What the frame says of its key."""
        try:
            key, record, lengths, compression, suffix = msgpack.unpackb(self.packed, use_list=False)
            return Description(key.decode("utf-8", "surrogatepass"), record, lengths, compression, suffix)
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise CorruptData(f"description of a frame cannot be read: {error}") from error


def aligned(nbytes: int) -> int:
    """Rounded up, so that arrays in a frame are aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def pack_head(frame: Frame) -> bytes:
    """Header and description of a frame, padded up to its buffers."""
    fields = (MAGIC, int(frame.kind), len(frame.packed), frame.payload_bytes, *frame[1:5])
    digest = xxh3_64_intdigest(_HEADER.pack(*fields, 0)[:_CHECKED] + frame.packed)
    head = _HEADER.pack(*fields, digest) + frame.packed
    return head.ljust(aligned(len(head)), b"\0")


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
    return Frame(_KINDS[kind], generation, target, segment, offset, packed, payload_bytes)
