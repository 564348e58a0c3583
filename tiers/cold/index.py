"""`Index`: which blob each key has, and where. Built again from frames and files at every start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import CorruptData
from ..record import Record
from .folder import FileName
from .frames import HEADER_BYTES, Description, Frame, Kind, unpack_description, unpack_head
from .segment import Place, Segment


class InSegment(NamedTuple):
    """Buffers that are part of a frame."""

    segment: Segment
    offset: int
    lengths: tuple[int, ...]
    compression: str


Content = InSegment | FileName


@dataclass(slots=True)
class Entry:
    """What is stored under a key."""

    key: str
    generation: int
    content: Content
    content_generation: int
    content_bytes: int
    frame: Place | None
    """The frame with the newest record; None for a file that no frame tells of."""
    content_frame: Place | None
    """The frame with the buffers, where that is another one."""
    packed: bytes | None
    """The newest record, or None where the index is kept on disk."""
    damage: str = ""

    def record(self) -> Record:
        """The record; read from the segment where it is not in memory. Raises `CorruptData`."""
        if self.packed is not None:
            return Record.unpack(self.packed)
        assert self.frame is not None
        head = self.frame.segment.read(self.frame.offset, self.frame.head_bytes)
        frame = unpack_head(head, 0)
        if frame is None:
            raise CorruptData(f"the record of {self.key!r:.80} in {self.frame.segment.path.name} is damaged")
        return Record.unpack(frame.description().record)

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        nbytes = self.content_bytes
        if self.frame is not None:
            nbytes += self.frame.nbytes
        if self.content_frame is not None:
            nbytes += self.content_frame.nbytes
        return nbytes


class Index:
    """Entries by key, and the bytes that they take. Mutated under the store's write lock; single
    look-ups need no lock."""

    def __init__(self, *, in_memory: bool) -> None:
        self.in_memory = in_memory
        self.entries: dict[str, Entry] = {}
        self.used_bytes = 0

    def put(self, key: str, entry: Entry | None) -> Entry | None:
        """Set or forget the entry of a key; returns the one that was there."""
        old = self.entries.get(key)
        if old is not None:
            self._count(old, -1)
        if entry is None:
            self.entries.pop(key, None)
        else:
            self._count(entry, 1)
            self.entries[key] = entry
        return old

    def _count(self, entry: Entry, sign: int) -> None:
        """Add an entry to the books, or take it out of them."""
        nbytes = entry.content_bytes
        frame, content_frame = entry.frame, entry.content_frame
        if frame is not None:
            nbytes += frame.nbytes
            frame.segment.live_bytes += sign * frame.nbytes
        if content_frame is not None:
            nbytes += content_frame.nbytes
            content_frame.segment.live_bytes += sign * content_frame.nbytes
        self.used_bytes += sign * nbytes

    def entry_of(
        self,
        frame: Frame,
        segment: Segment,
        description: Description,
        content_bytes: int = 0,
        digest: str = "",
    ) -> Entry:
        """The entry that a PUT or FILE frame makes; `content_bytes` is the size of the file."""
        key, record, lengths, compression, suffix = description
        content: Content
        if frame.kind is Kind.PUT:
            content = InSegment(segment, frame.payload_offset, lengths, compression)
        else:
            content = FileName(digest, frame.generation, suffix)
        return self.new_entry(key, frame.generation, place_of(frame, segment), content, content_bytes, record)

    def new_entry(
        self, key: str, generation: int, place: Place, content: Content, content_bytes: int, record: bytes
    ) -> Entry:
        """The entry of a key whose record and buffers came together."""
        packed = record if self.in_memory else None
        return Entry(key, generation, content, generation, content_bytes, place, None, packed)

    def updated(self, entry: Entry, generation: int, place: Place, record: bytes) -> Entry:
        """The entry after an UPDATE frame."""
        content_frame = entry.frame if entry.content_frame is None else entry.content_frame
        if isinstance(entry.content, FileName):
            content_frame = None  # of which the file itself tells as well
        return Entry(
            entry.key,
            generation,
            entry.content,
            entry.content_generation,
            entry.content_bytes,
            place,
            content_frame,
            record if self.in_memory else None,
            entry.damage,
        )


def place_of(frame: Frame, segment: Segment) -> Place:
    """Where a frame is, once it has been written to a segment."""
    return Place(segment, frame.offset, HEADER_BYTES + len(frame.packed), frame.end - frame.offset)


class Found(NamedTuple):
    """A frame, the segment that it was found in, and what it says."""

    frame: Frame
    segment: Segment
    description: Description


class Newest(NamedTuple):
    """Of each key the newest frames of each sort."""

    contents: dict[str, Found]
    updates: dict[str, Found]
    deletions: dict[str, int]
    """The generation of the newest deletion."""


def newest_frames(frames: Iterable[tuple[Frame, Segment]]) -> Newest:
    """What counts: the highest generation, whatever the order; of repetitions the first."""
    newest = Newest({}, {}, {})
    contents, updates, deletions = newest
    delete, update = Kind.DELETE, Kind.UPDATE  # an enum is slow to ask
    for frame, segment in frames:
        description = unpack_description(frame.packed)
        key, kind = description.key, frame.kind
        if kind is delete:
            segment.deletion_bytes += frame.end - frame.offset
            deletions[key] = max(deletions.get(key, 0), frame.generation)
            continue
        sort = updates if kind is update else contents
        known = sort.get(key)
        if known is None or known.frame.generation < frame.generation:
            sort[key] = Found(frame, segment, description)
    return newest
