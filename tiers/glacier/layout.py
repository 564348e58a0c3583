"""How the bytes of a value lie in an object: one stream of blocks, each compressed, sealed, checksummed.

The buffers of a value follow each other in a *plain stream*, each starting at a multiple of 64 bytes. The
stream is cut into blocks of equal size; each block is stored by itself, so that any range of the plain
stream can be read, and verified, by fetching the blocks that it touches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64, xxh3_64_intdigest

from ...errors import CorruptData, InvalidValue
from .crypto import TAG_BYTES, BlockCipher
from .objects import Part

ALIGNMENT = 64
"""Buffers start at multiples of this, so that the views that decode makes of them are aligned."""

BLOCK_BYTES = 256 * 1024
"""Grain of compression, encryption and verification: small next to a request's latency, large next to
the 16 bytes of a tag and the microseconds of a call."""

Blocks = Callable[[], Iterator[list[memoryview]]]
"""Starts plain blocks from the first one: each `BLOCK_BYTES` long (the last one shorter), as views."""

COMPRESSIONS = ("none", "lz4", "snappy", "zstd")

_PADDING = memoryview(bytes(ALIGNMENT))


class PlainStream:
    """The plain stream of some buffers: where they lie, and views of any range. Copies nothing."""

    def __init__(self, lengths: Sequence[int], buffers: Sequence[memoryview] | None = None) -> None:
        self.lengths = tuple(lengths)
        self.starts = []
        end = 0
        for length in self.lengths:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            self.starts.append(start)
            end = start + length
        self.nbytes = end
        self._pieces: list[tuple[int, memoryview]] = []
        if buffers is not None:
            at = 0
            for start, buffer in zip(self.starts, buffers, strict=True):
                if start > at:
                    self._pieces.append((at, _PADDING[: start - at]))
                if buffer.nbytes:
                    self._pieces.append((start, buffer.cast("B")))
                at = start + buffer.nbytes
        self._piece_starts = [start for start, _ in self._pieces]

    def views(self, start: int, end: int) -> list[memoryview]:
        """The bytes from start to end, as views that are joined in order."""
        found = []
        for index in range(max(bisect_right(self._piece_starts, start) - 1, 0), len(self._pieces)):
            at, piece = self._pieces[index]
            if at >= end:
                break
            view = piece[max(start - at, 0) : end - at]
            if view.nbytes:
                found.append(view)
        return found

    def blocks(self) -> Iterator[list[memoryview]]:
        """The blocks, in order."""
        for start in range(0, self.nbytes, BLOCK_BYTES):
            yield self.views(start, min(start + BLOCK_BYTES, self.nbytes))

    def split(self, whole: memoryview) -> tuple[memoryview, ...]:
        """The buffers as views of the whole plain stream."""
        return tuple(
            whole[start : start + length] for start, length in zip(self.starts, self.lengths, strict=True)
        )


@dataclass(frozen=True, slots=True)
class BlockTable:
    """Where each block is stored and how to know that it is whole.

    `lengths` (uint32) are those of the stored blocks, `checksums` (uint64) their xxh3, empty where the
    blocks are sealed: the tag of AES-GCM says more than a checksum.
    """

    block_bytes: int
    compression: str
    lengths: npt.NDArray[np.uint32]
    checksums: npt.NDArray[np.uint64]

    @property
    def stored_bytes(self) -> int:
        """Length of the object's body."""
        return int(self.lengths.sum(dtype=np.int64))

    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each stored block starts, and as the last entry where the body ends; shape [n + 1]."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    def pack(self) -> list[object]:
        """For the envelope."""
        return [
            self.block_bytes,
            self.compression,
            self.lengths.astype("<u4").tobytes(),
            self.checksums.astype("<u8").tobytes(),
        ]

    @classmethod
    def unpack(cls, packed: Sequence[object], plain_bytes: int, *, sealed: bool) -> BlockTable:
        """The inverse. Raises `CorruptData` where the numbers do not fit the value."""
        block_bytes, compression, lengths, checksums = packed
        if not isinstance(block_bytes, int) or not 1 <= block_bytes <= 2**30:
            raise CorruptData(f"a block size of {block_bytes!r} bytes")
        if compression not in COMPRESSIONS:
            raise CorruptData(f"an unknown compression {compression!r:.60}")
        if not isinstance(lengths, bytes) or not isinstance(checksums, bytes):
            raise CorruptData("a block table that holds no bytes")
        count = -(-plain_bytes // block_bytes)
        table = cls(
            block_bytes, str(compression), np.frombuffer(lengths, "<u4"), np.frombuffer(checksums, "<u8")
        )
        if len(table.lengths) != count or len(table.checksums) != (0 if sealed else count):
            raise CorruptData(
                f"{len(table.lengths)} blocks and {len(table.checksums)} checksums for a value of {count}"
            )
        most = np.full(count, block_bytes + (TAG_BYTES if sealed else 0), np.int64)
        if count:
            most[-1] -= count * block_bytes - plain_bytes
        fits = table.lengths == most if compression == "none" else table.lengths <= most
        if not fits.all():
            raise CorruptData("stored blocks that are longer or shorter than the value allows")
        return table


class Compressor:
    """Compresses single blocks by a codec of Arrow; a block that does not shrink stays as it is.

    Raises `InvalidValue` for an unknown name or a level that the codec does not take.
    """

    def __init__(self, name: str = "none", level: int | None = None) -> None:
        if name not in COMPRESSIONS:
            raise InvalidValue(f"compression must be one of {', '.join(COMPRESSIONS)}, not {name!r}")
        self.name = name
        try:
            self._codec = None if name == "none" else _arrow_codec(name, level)
        except (ValueError, TypeError, pa.ArrowInvalid) as error:
            raise InvalidValue(f"compression {name!r} does not take the level {level!r}: {error}") from error
        if name == "none" and level is not None:
            raise InvalidValue('compression_level needs a compression: give compression="zstd"')

    def compress(self, block: memoryview) -> bytes | memoryview:
        """The block, smaller if possible."""
        if self._codec is None:
            return block
        small: bytes = self._codec.compress(block, asbytes=True)
        return small if len(small) < block.nbytes else block

    def decompress_into(self, stored: memoryview, into: memoryview) -> None:
        """The block that `compress` was given. Raises `CorruptData`."""
        if stored.nbytes == into.nbytes:
            into[:] = stored
            return
        if self._codec is None:
            raise CorruptData(f"a block of {len(stored)} bytes where {into.nbytes} belong")
        try:
            plain = self._codec.decompress(stored, decompressed_size=into.nbytes)
        except (OSError, ValueError) as error:  # pa.ArrowException derives from these
            raise CorruptData(
                f"a {self.name} block of {len(stored)} bytes does not decompress: {error}"
            ) from error
        if plain.size != into.nbytes:
            raise CorruptData(f"a block decompressed to {plain.size} bytes where {into.nbytes} belong")
        into[:] = memoryview(plain).cast("B")


def overhead_bytes(plain_bytes: int) -> int:
    """What blocks of so many bytes cost at the most: length, checksum or tag, for each."""
    return -(-plain_bytes // BLOCK_BYTES) * (4 + 8 + TAG_BYTES)


def _arrow_codec(name: str, level: int | None) -> pa.Codec:
    # "lz4" in Arrow is the frame format, which some builds refuse for single buffers.
    return pa.Codec("lz4_raw" if name == "lz4" else name, level)


class BlockWriter:
    """Turns plain blocks into stored parts, and keeps the table of what it made in the last pass."""

    def __init__(self, blocks: Blocks, compressor: Compressor, cipher: BlockCipher | None) -> None:
        self._blocks = blocks
        self._compressor = compressor
        self._cipher = cipher
        self._lengths: list[int] = []
        self._checksums: list[int] = []

    def table(self) -> BlockTable:
        """The table of the last complete pass."""
        return BlockTable(
            BLOCK_BYTES,
            self._compressor.name,
            np.array(self._lengths, np.uint32),
            np.array(self._checksums, np.uint64),
        )

    def parts(self, part_bytes: int) -> Iterator[Part]:
        """The stored bytes in parts of exactly this size, the last one shorter (some providers insist)."""
        self._lengths.clear()
        self._checksums.clear()
        part: Part = []
        room = part_bytes
        for view in self._stored_views():
            while view.nbytes >= room:
                part.append(view[:room])
                yield part
                view, part, room = view[room:], [], part_bytes
            if view.nbytes:
                part.append(view)
                room -= view.nbytes
        if part:
            yield part

    def _stored_views(self) -> Iterator[memoryview]:
        for number, views in enumerate(self._blocks()):
            if self._cipher is None and self._compressor.name == "none":
                self._lengths.append(sum(view.nbytes for view in views))
                self._checksums.append(_checksum(views))
                yield from views
                continue
            plain = views[0] if len(views) == 1 else memoryview(b"".join(views))
            stored = self._compressor.compress(plain)
            if self._cipher is None:
                self._checksums.append(xxh3_64_intdigest(stored))
            else:
                stored = self._cipher.seal(number, stored)
            self._lengths.append(len(stored))
            yield memoryview(stored)


class BlockReader:
    """Turns stored blocks into plain bytes, verified."""

    def __init__(self, table: BlockTable, plain_bytes: int, cipher: BlockCipher | None, what: str) -> None:
        self.table = table
        self.offsets = table.offsets()
        self._plain_bytes = plain_bytes
        self._cipher = cipher
        self._compressor = Compressor(table.compression)
        self._what = what

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the plain bytes, so that they can be fetched into place."""
        return self._cipher is None and self.table.compression == "none"

    def plain_span(self, first: int, last: int) -> tuple[int, int]:
        """Where blocks first..last-1 lie in the plain stream."""
        size = self.table.block_bytes
        return first * size, min(last * size, self._plain_bytes)

    def stored_span(self, first: int, last: int) -> tuple[int, int]:
        """Where blocks first..last-1 lie in the body."""
        return int(self.offsets[first]), int(self.offsets[last])

    def restore(self, first: int, last: int, stored: memoryview, into: memoryview) -> None:
        """Verify the stored blocks and write their plain bytes; `stored` is `into` where `is_plain`."""
        base, size = int(self.offsets[first]), self.table.block_bytes
        for number in range(first, last):
            block = stored[int(self.offsets[number]) - base : int(self.offsets[number + 1]) - base]
            try:
                if self._cipher is not None:
                    opened = memoryview(self._cipher.open(number, block))
                elif xxh3_64_intdigest(block) == int(self.table.checksums[number]):
                    opened = block
                else:
                    raise CorruptData(f"block {number} does not match its checksum")
                if not self.is_plain:
                    self._compressor.decompress_into(opened, into[(number - first) * size :][:size])
            except CorruptData as error:
                raise CorruptData(f"{self._what}: {error}") from error


def _checksum(views: Sequence[memoryview]) -> int:
    if len(views) == 1:
        return int(xxh3_64_intdigest(views[0]))
    state = xxh3_64()
    for view in views:
        state.update(view)
    return int(state.intdigest())
