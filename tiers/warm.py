"""`WarmBlobs`: blobs in RAM as they are, compressed, as documents, or in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import CorruptData, InvalidValue, KeyNotFound, PickleRefused
from .blobs import Blob, Buffer
from .checksum import checksum
from .codec import decode, encode
from .encoded import Selection
from .memory_blobs import MemoryBlobs, gather, owned
from .record import Record
from .serialization import format_named
from .shared_segment import Segment

COMPRESSIONS = ("none", "lz4", "zstd")

_WORTH_COMPRESSING_BYTES = 128
_ALIGNMENT_BYTES = 64

ENTRY_BYTES = 1024
"""What an entry costs besides its bytes: records, buffers and dict slots, measured at 640 (a number) to
1,500 bytes (a short text). Counted, or a million small values would be far above their budget."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of what is held: plain bytes, or `nbytes` bytes compressed."""

    content: Buffer
    nbytes: int
    compression: str = "none"

    @classmethod
    def of(cls, buffer: Buffer, compression: str) -> Frame:
        """The frame of a buffer: compressed where that makes it smaller, else a view of it."""
        if compression != "none" and buffer.nbytes >= _WORTH_COMPRESSING_BYTES:
            import pyarrow as pa

            packed = memoryview(pa.Codec(compression).compress(pa.py_buffer(buffer))).cast("B")
            if packed.nbytes < buffer.nbytes:
                return cls(packed, buffer.nbytes, compression)
        return cls(buffer, buffer.nbytes)

    def open(self) -> Buffer:
        """The bytes before compression; a view where there was none."""
        if self.compression == "none":
            return self.content
        import pyarrow as pa

        plain = pa.Codec(self.compression).decompress(pa.py_buffer(self.content), self.nbytes)
        return memoryview(plain).cast("B")


@dataclass(frozen=True, slots=True)
class SealedBlob(Blob):
    """A blob in the form in which it is held: nothing is left to do that could fail."""

    frames: tuple[Frame, ...] = ()
    document: str | None = None
    segment: Segment | None = field(default=None, compare=False)
    pool: str | None = None

    @property
    def held_bytes(self) -> int:
        """What it occupies."""
        held = ENTRY_BYTES + len(self.record.key) + len(self.record.header)
        for frame in self.frames:
            held += frame.content.nbytes
        return held

    def unsealed(self) -> Blob:
        """The blob as it was put in."""
        contents = tuple(frame.open() for frame in self.frames)
        if self.document is None:
            return Blob(self.record, contents)
        encoded = encode(format_named(self.document).load(contents))
        if encoded.header == self.record.header and tuple(map(len, encoded.buffers)) == self.record.lengths:
            return Blob(self.record, encoded.buffers)
        # Equal, but written in another way, as a set may be: the record follows what is handed out.
        record = self.record.replace(
            header=encoded.header,
            lengths=tuple(buffer.nbytes for buffer in encoded.buffers),
            checksums=tuple(checksum(buffer) for buffer in encoded.buffers),
            has_pickle=encoded.has_pickle,
        )
        return Blob(record, encoded.buffers)


@dataclass(frozen=True, slots=True)
class SharedHandle:
    """Where a value lies in shared memory: small, picklable, and enough to open it in another process.

    It stays good until the value is replaced or deleted, or its owner ends. Arrays that were opened stay
    valid even then.
    """

    segment: str
    record: bytes
    frames: tuple[tuple[int, int, int, str], ...]
    document: str | None

    def open(self, *, allow_pickle: bool = False) -> Any:
        """The value; arrays are read-only views of the shared memory, without a copy.

        Raises `KeyNotFound` once it is gone, `CorruptData` where its bytes are not those that were
        stored, and `PickleRefused` for a pickle without ``allow_pickle=True``.
        """
        if self.document == "pickle" and not allow_pickle:
            raise PickleRefused(
                "the value is held as a pickle: open it with allow_pickle=True if you trust it"
            )
        whole = Segment.attach(self.segment).buffer
        frames = tuple(
            Frame(whole[start:stop], nbytes, compression) for start, stop, nbytes, compression in self.frames
        )
        blob = SealedBlob(Record.unpack(self.record), frames=frames, document=self.document).unsealed()
        for number, (buffer, expected) in enumerate(zip(blob.buffers, blob.record.checksums, strict=True)):
            if checksum(buffer) != expected:
                raise CorruptData(
                    f"shared buffer {number} of {blob.record.key!r} does not match its checksum"
                )
        return decode(blob.record.header, blob.buffers, allow_pickle=allow_pickle)


class WarmBlobs(MemoryBlobs):
    """RAM, in one of several forms. `used_bytes` counts the form that is held. Thread-safe.

    Counts bytes and entries by pool as well. Reads of plain blobs are views; those of compressed ones and
    of documents are made anew.
    """

    keeps_buffers = False  # whatever the form, sealing copies the bytes

    def __init__(
        self, *, document: str | None = None, compression: str = "none", shared: bool = False
    ) -> None:
        super().__init__()
        self._document = document
        self._compression = compression
        self._shared = shared
        self._pools: dict[str | None, tuple[int, int]] = {}

    def seal(self, blob: Blob, pool: str | None = None) -> SealedBlob:
        """The blob in the form in which it will be held, in memory of its own. Stores nothing yet."""
        if isinstance(blob, SealedBlob):
            return blob
        contents: Sequence[Buffer] = blob.buffers
        if self._document is not None:
            value = decode(blob.record.header, blob.buffers, allow_pickle=True)
            try:
                contents = format_named(self._document).dump(value)
            except (ValueError, OverflowError, RecursionError) as error:
                raise InvalidValue(
                    f"{blob.record.key!r} cannot be written as {self._document}: {error}"
                ) from error
        frames = [Frame.of(content, self._compression) for content in contents]
        segment = None
        if self._shared:
            segment, frames = _shared(frames)
        else:
            frames = [
                Frame(owned(frame.content), frame.nbytes) if frame.compression == "none" else frame
                for frame in frames
            ]
        return SealedBlob(
            blob.record, frames=tuple(frames), document=self._document, segment=segment, pool=pool
        )

    def put(self, blob: Blob) -> None:
        super().put(self.seal(blob))

    def get_part(self, key: str, selection: Selection) -> Blob:
        sealed = self._sealed(key)
        if sealed.document is not None:
            whole = sealed.unsealed()
            if whole.record.lengths != sealed.record.lengths:
                raise InvalidValue(f"{key!r} has no rows as {sealed.document}: read it whole")
            contents = whole.buffers
        else:
            wanted = set(selection.sources)
            contents = tuple(
                frame.open() if number in wanted else memoryview(b"")
                for number, frame in enumerate(sealed.frames)
            )
        buffers = [
            gather(contents[source], ranges)
            for source, ranges in zip(selection.sources, selection.ranges, strict=True)
        ]
        return Blob(sealed.record, tuple(buffers))

    def document(self, key: str) -> bytes:
        """The document of a value, before compression. Raises `InvalidValue` where none is kept."""
        sealed = self._sealed(key)
        if sealed.document is None:
            raise InvalidValue(
                "values are kept as they are here, without a document: set serialization_format"
            )
        return bytes(sealed.frames[0].open())

    def handle(self, key: str) -> SharedHandle:
        """How another process opens the value. Raises `InvalidValue` without shared memory."""
        sealed = self._sealed(key)
        if sealed.segment is None:
            raise InvalidValue("values are not in shared memory here: open the tier with shared_memory=True")
        frames = []
        position = 0
        for frame in sealed.frames:
            frames.append((position, position + frame.content.nbytes, frame.nbytes, frame.compression))
            position = _aligned(position + frame.content.nbytes)
        return SharedHandle(sealed.segment.name, sealed.record.pack(), tuple(frames), sealed.document)

    def pool_of(self, key: str) -> str | None:
        """The pool that the key was put into."""
        held = self._blobs.get(key)
        return held.pool if isinstance(held, SealedBlob) else None

    def pool_usage(self, pool: str | None) -> tuple[int, int]:
        """Bytes and entries in a pool, or (None) outside of all pools."""
        used_bytes, entries = self._pools.get(pool, (0, 0))
        return used_bytes, entries

    def leave_pool(self, pool: str) -> None:
        """Let the values of a pool stay outside of all pools."""
        with self._lock:
            for key, held in list(self._blobs.items()):
                if isinstance(held, SealedBlob) and held.pool == pool:
                    free = SealedBlob(held.record, (), held.frames, held.document, held.segment, None)
                    self._count(held, free)
                    self._blobs[key] = free

    def _sealed(self, key: str) -> SealedBlob:
        held = self._find(key)
        if not isinstance(held, SealedBlob):
            raise KeyNotFound(f"{key!r} is not stored here")
        return held

    def _opened(self, held: Blob) -> Blob:
        return held.unsealed() if isinstance(held, SealedBlob) else held

    def _held_bytes(self, held: Blob) -> int:
        return held.held_bytes if isinstance(held, SealedBlob) else super()._held_bytes(held)

    def _count(self, old: Blob | None, new: Blob | None) -> None:
        super()._count(old, new)
        for blob, sign in ((old, -1), (new, 1)):
            if isinstance(blob, SealedBlob):
                used_bytes, entries = self._pools.get(blob.pool, (0, 0))
                self._pools[blob.pool] = (used_bytes + sign * blob.held_bytes, entries + sign)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _shared(frames: Sequence[Frame]) -> tuple[Segment, list[Frame]]:
    """The frames copied into one segment of shared memory."""
    total = 0
    for frame in frames:
        total = _aligned(total + frame.content.nbytes)
    segment = Segment.create(total)
    whole = segment.buffer
    placed = []
    position = 0
    for frame in frames:
        stop = position + frame.content.nbytes
        whole[position:stop] = frame.content
        placed.append(Frame(whole[position:stop].toreadonly(), frame.nbytes, frame.compression))
        position = _aligned(stop)
    return segment, placed
