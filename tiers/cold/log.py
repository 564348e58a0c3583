"""`SegmentLog`: the segments of a store, the last of which grows."""

from __future__ import annotations

from collections.abc import Sequence

from .folder import Folder
from .frames import HEADER_BYTES, Frame, NewFrame, pack_head
from .segment import PayloadCheck, Place, Segment

SEGMENT_BYTES = 32 * 1024 * 1024
"""A segment that has reached this size is followed by a new one."""


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
        reserve = self._folder.reserve
        reserve.take()
        if frees_room:
            return reserve.used_for(lambda: self._append(frames, sync))
        return self._append(frames, sync)

    def _append(self, frames: Sequence[NewFrame], sync: bool) -> list[Place]:
        if self.active.nbytes >= SEGMENT_BYTES:
            self.rotate()
        segment = self.active
        number, at = segment.number, segment.nbytes
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
        segment.append(b"".join(heads), pieces, sync=sync)
        return placed

    @property
    def dead_bytes(self) -> int:
        """Bytes that compaction could free."""
        return sum(segment.nbytes - segment.live_bytes for segment in self.segments)

    @property
    def live_bytes(self) -> int:
        """Bytes of the frames that count."""
        return sum(segment.live_bytes for segment in self.segments)

    def drop_oldest(self) -> None:
        """Remove the oldest segment, whose frames no longer count."""
        # Known until it is gone: a later one may hold the deletions of what it holds.
        self.segments[0].remove()
        self.segments.pop(0)

    def close(self) -> None:
        """Make everything durable and close the files."""
        for segment in self.segments:
            segment.close()
