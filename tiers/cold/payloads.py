"""Payloads: the buffers of a small value inside its frame, perhaps compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import CorruptData
from ..blobs import Blob
from ..checksum import checksum
from ..codec.compression import NONE, compression
from ..encoded import Selection
from ..record import Record
from .blocks import check_ranges, gather
from .frames import ALIGNMENT, Frame, aligned
from .index import InSegment

_WORTH_COMPRESSING = 512
"""Fewer bytes than this are kept as they are."""

_ZEROS = memoryview(bytes(ALIGNMENT))


class Payload(NamedTuple):
    """Buffers as they go into a frame, each padded to the alignment."""

    buffers: tuple[memoryview, ...]
    lengths: tuple[int, ...]
    """Bytes of each without the padding."""
    compression: str
    nbytes: int
    """Bytes of all of them with the padding."""


def pack_payload(buffers: Sequence[memoryview], method: str, level: int | None) -> Payload:
    """Compress, where that makes fewer bytes, and pad."""
    if method != NONE and sum(buffer.nbytes for buffer in buffers) >= _WORTH_COMPRESSING:
        codec = compression(method)
        packed = [codec.compress(buffer, level) for buffer in buffers]
        if sum(p.nbytes for p in packed) < sum(buffer.nbytes for buffer in buffers):
            return _padded(packed, method)
    return _padded(buffers, NONE)


def _padded(buffers: Sequence[memoryview], method: str) -> Payload:
    lengths = tuple([buffer.nbytes for buffer in buffers])
    total = sum(lengths)
    if len(buffers) == 1 and total % ALIGNMENT == 0:
        return Payload(tuple(buffers), lengths, method, total)
    pieces: list[memoryview] = []
    total = 0
    for buffer, length in zip(buffers, lengths, strict=True):
        pieces.append(buffer)
        total += length
        if padding := -length % ALIGNMENT:
            pieces.append(_ZEROS[:padding])
            total += padding
    return Payload(tuple(pieces), lengths, method, total)


def read_payload(content: InSegment, record: Record, selection: Selection | None) -> Blob:
    """The buffers of a small value, or a part of them; always verified as a whole. Raises
    `CorruptData`."""
    total = sum(map(aligned, content.lengths))
    buffers = unpack_payload(
        content.segment.read(content.offset, total), content.lengths, content.compression, record
    )
    if selection is None:
        return Blob(record, buffers)
    parts = []
    for source, ranges in zip(selection.sources, selection.ranges, strict=True):
        if not 0 <= source < len(buffers):
            raise CorruptData(f"a value of {len(buffers)} buffers has no buffer {source}")
        check_ranges(ranges, buffers[source].nbytes)
        parts.append(gather(buffers[source], ranges))
    return Blob(record, tuple(parts))


def unpack_payload(
    stored: memoryview, lengths: Sequence[int], method: str, record: Record
) -> tuple[memoryview, ...]:
    """Raw and verified buffers of a frame. Raises `CorruptData`."""
    if not len(lengths) == len(record.lengths) == len(record.checksums):
        raise CorruptData("frame and record tell of different numbers of buffers")
    buffers = []
    at = 0
    for stored_length, length, digest in zip(lengths, record.lengths, record.checksums, strict=True):
        buffer = stored[at : at + stored_length]
        at += aligned(stored_length)
        if method != NONE:
            buffer = compression(method).decompress(buffer, length)
        if buffer.nbytes != length or checksum(buffer) != digest:
            raise CorruptData(f"a buffer of {length} bytes does not match its checksum")
        buffers.append(buffer.toreadonly())
    return tuple(buffers)


def payload_is_whole(frame: Frame, stored: memoryview) -> bool:
    """Whether a frame's buffers are what its record says."""
    try:
        description = frame.description()
        if description.record and frame.payload_bytes:
            record = Record.unpack(description.record)
            unpack_payload(stored, description.stored_lengths, description.compression, record)
    except CorruptData:
        return False
    return True
