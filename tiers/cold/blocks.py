"""Block tables: what makes a part of a stored buffer verifiable, and decompressible, by itself.

An uncompressed buffer has one xxh3 per 4 kB block. A compressed one is cut into chunks of 256 kB, each
compressed by itself, with its end and the checksum of its compressed bytes: damage is found before a
decompressor sees it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from ...errors import CorruptData
from ..checksum import BLOCK_BYTES, block_checksums, checksum
from ..codec.compression import Compression
from ..encoded import Ranges

CHUNK_BYTES = 256 * 1024
"""Raw bytes that are compressed together."""

Table = npt.NDArray[np.uint64]


class Reader(Protocol):
    """Reads bytes of a stored buffer; raises `CorruptData` where it ends before them."""

    def __call__(self, begin: int, end: int) -> memoryview: ...


class Packed(NamedTuple):
    """A compressed buffer."""

    content: memoryview
    table: Table
    """[2 x chunks]: the end of each chunk, then the checksum of each."""


def plain_table(buffer: memoryview) -> Table:
    """The table of an uncompressed buffer."""
    return block_checksums(buffer)


def pack(buffer: memoryview, method: Compression, level: int | None) -> Packed:
    """Compress a buffer chunk by chunk."""
    chunks = [
        method.compress(buffer[at : at + CHUNK_BYTES], level) for at in range(0, buffer.nbytes, CHUNK_BYTES)
    ]
    ends = np.cumsum([chunk.nbytes for chunk in chunks], dtype=np.uint64)
    sums = np.array([checksum(chunk) for chunk in chunks], dtype=np.uint64)
    return Packed(memoryview(b"".join(chunks)), np.concatenate([ends, sums]))


def unpack(content: memoryview, table: Table, nbytes: int, method: Compression) -> memoryview:
    """A whole compressed buffer. Raises `CorruptData`."""
    chunks = -(-nbytes // CHUNK_BYTES)
    _check_table(table, 2 * chunks)
    result = np.empty(nbytes, np.uint8)
    begin = 0
    for chunk in range(chunks):
        end = int(table[chunk])
        at = chunk * CHUNK_BYTES
        raw_bytes = min(CHUNK_BYTES, nbytes - at)
        raw = _chunk(content[begin:end], int(table[chunks + chunk]), raw_bytes, method)
        result[at : at + raw_bytes] = np.frombuffer(raw, np.uint8)
        begin = end
    return result.data.toreadonly()


def packed_part(read: Reader, table: Table, nbytes: int, method: Compression, ranges: Ranges) -> memoryview:
    """Some ranges of a compressed buffer: only the chunks that hold them are read."""
    chunks = -(-nbytes // CHUNK_BYTES)
    _check_table(table, 2 * chunks)
    check_ranges(ranges, nbytes)
    raw: dict[int, memoryview] = {}

    def chunk_of(number: int) -> memoryview:
        if number not in raw:
            begin = int(table[number - 1]) if number else 0
            raw_bytes = min(CHUNK_BYTES, nbytes - number * CHUNK_BYTES)
            stored = read(begin, int(table[number]))
            raw[number] = _chunk(stored, int(table[chunks + number]), raw_bytes, method)
        return raw[number]

    pieces = []
    for begin, end in ranges.tolist():
        while begin < end:
            number, within = divmod(begin, CHUNK_BYTES)
            stop = min(end, (number + 1) * CHUNK_BYTES)
            pieces.append(chunk_of(number)[within : within + stop - begin])
            begin = stop
    return memoryview(b"".join(pieces))


def _chunk(stored: memoryview, digest: int, raw_bytes: int, method: Compression) -> memoryview:
    if checksum(stored) != digest:
        raise CorruptData("a compressed chunk does not match its checksum")
    return method.decompress(stored, raw_bytes)


def plain_part(whole: memoryview, table: Table, ranges: Ranges) -> memoryview:
    """Some ranges of an uncompressed buffer that is mapped: only the blocks that hold them are touched,
    and each of these is verified."""
    _check_table(table, -(-whole.nbytes // BLOCK_BYTES))
    check_ranges(ranges, whole.nbytes)
    verify_blocks(whole, table, touched_blocks(ranges))
    return gather(whole, ranges)


def runs_part(read: Reader, table: Table, nbytes: int, ranges: Ranges) -> memoryview:
    """Some ranges of an uncompressed buffer that is not mapped: runs of blocks are read one by one."""
    _check_table(table, -(-nbytes // BLOCK_BYTES))
    check_ranges(ranges, nbytes)
    blocks = touched_blocks(ranges)
    if not len(blocks):
        return memoryview(b"")
    found = np.empty((len(blocks), BLOCK_BYTES), np.uint8)
    breaks = np.flatnonzero(np.diff(blocks, prepend=-2) != 1).tolist()
    for first, stop in zip(breaks, [*breaks[1:], len(blocks)], strict=True):
        begin = int(blocks[first]) * BLOCK_BYTES
        content = read(begin, min(nbytes, (int(blocks[stop - 1]) + 1) * BLOCK_BYTES))
        whole: npt.NDArray[np.uint8] = found[first:stop].reshape(-1)
        whole[: content.nbytes] = np.frombuffer(content, np.uint8)
        sums = table[blocks[first] : blocks[stop - 1] + 1]
        verify_blocks(content, sums, np.arange(stop - first))
    # Where a block lies among those that were read; ranges lie in runs of blocks, hence in one piece.
    places = np.searchsorted(blocks, ranges // BLOCK_BYTES)
    flat = found.reshape(-1).data
    begins = places[:, 0] * BLOCK_BYTES + ranges[:, 0] % BLOCK_BYTES
    return gather(flat, np.stack([begins, begins + ranges[:, 1] - ranges[:, 0]], axis=1))


def touched_blocks(ranges: Ranges) -> npt.NDArray[np.int64]:
    """The 4 kB blocks that hold the ranges, sorted, each once; of an empty range perhaps the one it is in."""
    first, last = ranges[:, 0] // BLOCK_BYTES, (ranges[:, 1] - 1) // BLOCK_BYTES
    if len(ranges) == 1:
        return np.arange(first[0], last[0] + 1)
    if bool((first == last).all()):
        return _sorted_once(first)
    spans = np.where(ranges[:, 1] > ranges[:, 0], last - first + 1, 0)
    starts = np.repeat(first - np.cumsum(spans) + spans, spans)
    return _sorted_once(starts + np.arange(len(starts)))


def _sorted_once(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`numpy.unique` without its hash table, which takes twice as long for these few numbers."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    once: npt.NDArray[np.int64] = ordered[first]
    return once


def verify_blocks(whole: memoryview, table: Table, blocks: npt.NDArray[np.int64]) -> None:
    """Compare the checksums of some blocks with the table. Raises `CorruptData`."""
    digest = xxh3_64_intdigest
    found = [digest(whole[at : at + BLOCK_BYTES]) for at in (blocks * BLOCK_BYTES).tolist()]
    noted = table[blocks].tolist()
    if found != noted:
        wrong = blocks[np.array(found, dtype=np.uint64) != table[blocks]]
        raise CorruptData(
            f"{len(wrong)} of {len(blocks)} blocks of 4 kB do not match their checksums, "
            f"the first at byte {int(wrong[0]) * BLOCK_BYTES}"
        )


def gather(whole: memoryview, ranges: Ranges) -> memoryview:
    """The bytes of the ranges, joined; a view where they are one."""
    if len(ranges) == 1:
        return whole[int(ranges[0, 0]) : int(ranges[0, 1])]
    begins, ends = ranges[:, 0], ranges[:, 1]
    if len(ranges) > 4 and (width := int(ends[0] - begins[0])) and bool((ends - begins == width).all()):
        numbers, within = np.divmod(begins, width)
        if not within.any():
            usable = whole.nbytes // width * width
            rows: npt.NDArray[Any] = np.frombuffer(whole[:usable], dtype=f"V{width}")
            return rows.take(numbers).view(np.uint8).data
    return memoryview(b"".join(whole[begin:end] for begin, end in ranges.tolist()))


def check_ranges(ranges: Ranges, nbytes: int) -> None:
    """Raise `CorruptData` where the header that the ranges came from tells of more bytes than there are."""
    if len(ranges) and (int(ranges.min()) < 0 or int(ranges.max()) > nbytes):
        raise CorruptData(
            f"a value of {nbytes} bytes has no bytes {int(ranges.min())} to {int(ranges.max())}"
        )


def _check_table(table: Table, entries: int) -> None:
    if len(table) != entries:
        raise CorruptData(f"a checksum table of {len(table)} entries where {entries} are needed")
