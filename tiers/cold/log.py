"""`SegmentLog`: the segments of a store, the last of which grows."""

from __future__ import annotations

from collections.abc import Sequence

from .folder import Folder
from .frames import HEADER_BYTES, Frame, Kind, NewFrame, pack_head
from .segment import PayloadCheck, Place, Segment

SEGMENT_BYTES = 32 * 1024 * 1024
"""A segment that has reached this size is followed by a new one."""

_LEAST_RESERVE_BYTES = 1 << 20
_DELETE = Kind.DELETE


class SegmentLog:
    """Not thread-safe: the store's write lock guards it."""

    def __init__(self, folder: Folder, is_whole: PayloadCheck) -> None:
        self._folder = folder
        self.segments: list[Segment] = []
        self.damage: list[str] = []
        self.found: list[tuple[Frame, Segment]] = []
        """The frames that were there at the start; taken by the store."""
        last_is_sound = False
        lost: list[tuple[Frame, Segment]] = []
        for number in folder.segment_numbers():
            segment = Segment(folder.segments, number)
            self.segments.append(segment)
            contents = segment.load(is_whole)
            self.found += [(frame, segment) for frame in contents.frames]
            lost += [(frame, segment) for frame in contents.lost]
            self.damage += [f"{segment.path.name}: {what}" for what in contents.damage]
            last_is_sound = not contents.damage
        # A copy that compaction made counts before the lost one: of equal frames the first does.
        self.found += lost
        if not last_is_sound:  # what was cut off may not be overwritten by something else
            self.rotate()

    @property
    def active(self) -> Segment:
        """The segment that grows."""
        return self.segments[-1]

    def rotate(self) -> None:
        """Start a new segment."""
        number = self.segments[-1].number + 1 if self.segments else 1
        self.segments.append(Segment(self._folder.segments, number, create=True))

    def append(self, frames: Sequence[NewFrame], *, sync: bool, frees_room: bool = False) -> list[Place]:
        """Write frames, durably with `sync`; returns where they are. On an error nothing was written. What
        `frees_room` may use the room that is kept back for it."""
        self._folder.reserve.take(self._reserve_bytes)
        if frees_room:
            return self._folder.reserve.used_for(lambda: self._append(frames, sync))
        return self._append(frames, sync)

    @property
    def _reserve_bytes(self) -> int:
        """Kept back on the disk: a copy of any one segment, and a quarter as much for deletions."""
        segment_bytes = SEGMENT_BYTES if len(self.segments) > 1 else min(self.active.nbytes, SEGMENT_BYTES)
        whole = segment_bytes * 5 // 4
        return whole - whole % _LEAST_RESERVE_BYTES + _LEAST_RESERVE_BYTES

    @property
    def is_full(self) -> bool:
        """Whether the disk has hardly more room than what is kept back."""
        return self._folder.spare_bytes < self._reserve_bytes + _LEAST_RESERVE_BYTES

    @property
    def lacks_reserve(self) -> bool:
        """Whether half of what is kept back for deletions is used up."""
        return self._folder.spare_bytes < self._reserve_bytes * 9 // 10

    def _append(self, frames: Sequence[NewFrame], sync: bool) -> list[Place]:
        if self.active.nbytes >= SEGMENT_BYTES:
            self.rotate()
        segment = self.active
        number, at, deletion_bytes = segment.number, segment.nbytes, 0
        placed: list[Place] = []
        heads: list[bytes] = []
        pieces: list[bytes | memoryview] = []
        for kind, generation, target, packed, payload, payload_bytes in frames:
            head = pack_head(kind, generation, target, number, at, packed, payload_bytes)
            nbytes = len(head) + payload_bytes
            placed.append(Place(segment, at, HEADER_BYTES + len(packed), nbytes))
            heads.append(head)
            pieces.append(head)
            pieces += payload
            at += nbytes
            if kind is _DELETE:
                deletion_bytes += nbytes
        segment.append(b"".join(heads), pieces, sync=sync)
        segment.deletion_bytes += deletion_bytes
        return placed

    @property
    def dead_bytes(self) -> int:
        """Bytes that compaction could free."""
        return sum(segment.nbytes - segment.live_bytes for segment in self.segments)

    @property
    def live_bytes(self) -> int:
        """Bytes of the frames that count."""
        return sum(segment.live_bytes for segment in self.segments)

    def drop(self, segment: Segment) -> None:
        """Remove a segment whose frames no longer count."""
        # Known until it is gone: a later one may hold the deletions of what it holds.
        segment.remove()
        self.segments.remove(segment)

    def close(self) -> None:
        """Make everything durable and close the files."""
        for segment in self.segments:
            segment.close()
