"""`Segment`: one append-only file of frames, and the index file beside it.

The index repeats every frame's header and description, and is written after the segment was fsynced
and never fsynced itself. It makes opening quick, since values need not be read, and it tells which keys
were lost should the segment be damaged; should the index be damaged, the segment tells all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...durable import sync_folder
from ...errors import CorruptData
from .frames import MAGIC, Frame, unpack_head

_INDEX = ".index"
_WRITE_AT_ONCE = 512
"""Fewer than the number of buffers that one writev takes."""


PayloadCheck = Callable[[Frame, memoryview], bool]
"""Whether the buffers of a frame are what its record says."""


class Contents(NamedTuple):
    """What opening a segment found."""

    frames: list[Frame]
    damage: list[str]
    """What is wrong with the segment, for people to read."""
    lost: list[Frame]
    """Frames that the index knows and that lie beyond the end of the segment."""


class Place(NamedTuple):
    """Where a frame is."""

    segment: Segment
    offset: int
    head_bytes: int
    """Header and description without the padding."""
    nbytes: int
    """All of it with its buffers and paddings."""

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + self.nbytes


class Segment:
    """Appending is for one thread at a time; reading is for any."""

    def __init__(self, folder: Path, number: int, *, create: bool = False) -> None:
        self.number = number
        self.path = folder / f"{number:016x}.segment"
        self._index_path = self.path.with_suffix(_INDEX)
        # Where only the index is left, an empty segment tells that all of its values are lost.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | (os.O_EXCL if create else 0)
        self._index: int | None = None
        self._file = os.open(self.path, flags, 0o600)
        try:
            self._index = os.open(
                self._index_path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_APPEND, 0o600
            )
            self.nbytes = os.fstat(self._file).st_size
            if create:
                sync_folder(folder)
        except BaseException:
            self.close()
            if create:  # else a segment of this number could never be created again
                with suppress(OSError):
                    self._index_path.unlink(missing_ok=True)
                    self.path.unlink()
            raise
        self.live_bytes = 0
        self.deletion_bytes = 0
        """Of the frames that tell of deletions."""

    def __del__(self) -> None:
        # A reader may still hold a segment that compaction has removed: the last one closes it.
        with suppress(AttributeError, OSError):  # where opening failed half-way
            self.close()

    def close(self) -> None:
        """Close the files. Reads fail from now on."""
        file, self._file = self._file, -1
        index, self._index = self._index, None
        for descriptor in (file, index):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    @property
    def reclaimable_bytes(self) -> int:
        """What is gained where the segment is taken out of use before older ones are."""
        return self.nbytes - self.live_bytes - self.deletion_bytes

    def append(self, heads: bytes, pieces: Sequence[bytes | memoryview], *, sync: bool) -> None:
        """Write frames at the end, durably with `sync`: their heads alone go to the index, `pieces` are
        heads and buffers in turn. On an error the segment is as it was."""
        start = self.nbytes
        try:
            end = _write_all(self._file, pieces, start)
            if sync:
                os.fdatasync(self._file)
        except BaseException:
            os.ftruncate(self._file, start)
            raise
        self.nbytes = end
        if self._index is not None:
            try:
                os.write(self._index, heads)
            except OSError:  # a full disk; the segment tells the rest of it when it is opened again
                os.close(self._index)
                self._index = None

    def sync(self) -> None:
        """Make everything appended so far durable."""
        os.fdatasync(self._file)

    def read(self, offset: int, nbytes: int) -> memoryview:
        """Bytes of the segment. Raises `CorruptData` where it ends before them."""
        content = os.pread(self._file, nbytes, offset)
        if len(content) != nbytes:
            raise CorruptData(
                f"{self.path.name} ends at byte {offset + len(content)}, "
                f"but a value reaches up to {offset + nbytes}"
            )
        return memoryview(content)

    def load(self, is_whole: PayloadCheck) -> Contents:
        """The frames, from the index as far as it goes and from the segment beyond. Cuts off what a
        crash left behind a segment's last whole frame."""
        known, complete = self._indexed()
        frames = [frame for frame in known if frame.end <= self.nbytes]
        lost = [frame for frame in known if frame.end > self.nbytes]
        damage = [f"{len(lost)} values lie beyond the end of the file"] if lost else []
        start = frames[-1].end if frames and complete else 0
        if lost:
            return Contents(frames, damage, lost)
        if start < self.nbytes:
            scanned, end, gaps = self._scan(start, is_whole)
            seen = {frame.offset for frame in scanned}
            frames = sorted(
                [*scanned, *(frame for frame in frames if frame.offset not in seen)], key=lambda f: f.offset
            )
            damage += [f"bytes {begin} to {stop} are damaged" for begin, stop in gaps]
            end = max([end, *(frame.end for frame in frames)])
            if end < self.nbytes:  # torn by a crash, hence never acknowledged
                os.ftruncate(self._file, end)
                self.nbytes = end
        self._rewrite_index(frames, unless=known if complete else None)
        return Contents(frames, damage, lost)

    def _indexed(self) -> tuple[list[Frame], bool]:
        """The frames of the index, and whether it is whole as far as it goes."""
        if self._index is None:
            return [], False
        content = _read_all(self._index)
        frames: list[Frame] = []
        at = end = 0
        complete = True
        while at < len(content):
            frame = unpack_head(content, at)
            if frame is None or frame.segment != self.number:
                complete = False
                at = content.find(MAGIC, at + 1)
                if at < 0:
                    break
                continue
            if frame.offset != end:
                complete = False
            frames.append(frame)
            end = frame.end
            at += frame.payload_offset - frame.offset
        return frames, complete

    def _scan(self, start: int, is_whole: PayloadCheck) -> tuple[list[Frame], int, list[tuple[int, int]]]:
        """The frames from `start` on, where the last one ends, and the damaged ranges between them."""
        content = memoryview(os.pread(self._file, self.nbytes - start, start))
        raw = content.obj
        assert isinstance(raw, bytes)
        frames: list[Frame] = []
        gaps: list[tuple[int, int]] = []
        at = end = 0
        while at < len(raw):
            frame = unpack_head(content, at)
            if frame is None or (frame.segment, frame.offset) != (self.number, start + at):
                at = raw.find(MAGIC, at + 1)
                if at < 0:
                    break
                continue
            if frame.end - start > len(raw):
                break
            if at > end:
                gaps.append((start + end, start + at))
            frames.append(frame)
            at = end = frame.end - start
        # A power failure may keep the header of the last frames and lose their buffers.
        while frames and not is_whole(frames[-1], _payload(content, frames[-1], start)):
            end = frames.pop().offset - start
        return frames, start + end, gaps

    def _rewrite_index(self, frames: list[Frame], *, unless: list[Frame] | None) -> None:
        if self._index is None or (unless is not None and len(unless) == len(frames)):
            return
        os.ftruncate(self._index, 0)
        os.write(self._index, b"".join([frame.head for frame in frames]))

    def remove(self) -> None:
        """Delete the files; those who read from them now may go on.

        An index without its segment tells of lost values, so it goes first, durably: a segment that is
        left alone by a crash is only read once more.
        """
        self._index_path.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)


def _payload(content: memoryview, frame: Frame, start: int) -> memoryview:
    begin = frame.payload_offset - start
    return content[begin : begin + frame.payload_bytes]


def _write_all(file: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
    """Write the pieces one after another; returns where they end."""
    for first in range(0, len(pieces), _WRITE_AT_ONCE):
        batch = pieces[first : first + _WRITE_AT_ONCE]
        total = sum(len(piece) for piece in batch)
        written = os.pwritev(file, batch, offset)
        while written < total:  # a signal, or a disk that is filling up
            rest = b"".join(batch)[written:]
            written += os.pwrite(file, rest, offset + written)
        offset += total
    return offset


def _read_all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
