"""Fetching blocks of a body, several ranges at once, and picking ranges out of what was fetched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..encoded import Ranges
from .crew import Crew, settle
from .layout import ALIGNMENT, BlockReader
from .objects import ObjectStore
from .retry import Retry

Span = tuple[int, int, memoryview]
"""Blocks first..last-1, and the memory for their plain bytes."""

Bytes = npt.NDArray[np.uint8]

_GAP_BLOCKS = 4
"""Unwanted blocks between two wanted ones that are fetched along: cheaper than another request."""


class BlockFetcher:
    """Reads blocks of body objects into place, at most a part at a time in each of its threads."""

    def __init__(self, store: ObjectStore, retry: Retry, crew: Crew, part_bytes: int) -> None:
        self._store = store
        self._retry = retry
        self._crew = crew
        self._part_bytes = part_bytes

    def fetch(self, body: str, reader: BlockReader, spans: Sequence[Span]) -> None:
        """Fill the spans with verified plain bytes. Raises `ObjectGone`, `CorruptData`, `Unavailable`."""
        pieces = [piece for span in spans for piece in self._pieces(reader, span)]
        if len(pieces) == 1:  # no thread needs to be woken for one request
            self._fetch(body, reader, pieces[0])
            return
        running: deque[Future[None]] = deque()
        try:
            for piece in pieces:
                if len(running) >= self._crew.size:
                    running.popleft().result()
                running.append(self._crew.parts.submit(self._fetch, body, reader, piece))
            while running:
                running.popleft().result()
        finally:
            settle(running)

    def _pieces(self, reader: BlockReader, span: Span) -> Iterator[Span]:
        first, last, into = span
        # What is opened or decompressed is held twice for a moment: smaller pieces keep that small.
        piece_bytes = self._part_bytes if reader.is_plain else self._part_bytes // 4
        step = max(piece_bytes // reader.table.block_bytes, 1)
        base = reader.plain_span(first, last)[0]
        for number in range(first, last, step):
            end = min(number + step, last)
            start_byte, end_byte = reader.plain_span(number, end)
            yield number, end, into[start_byte - base : end_byte - base]

    def _fetch(self, body: str, reader: BlockReader, piece: Span) -> None:
        first, last, into = piece
        start, end = reader.stored_span(first, last)
        stored = into if reader.is_plain else memoryview(bytearray(end - start))
        self._retry.call(lambda: self._store.read_into(body, start, stored), f"reading {body}")
        reader.restore(first, last, stored, into)


@dataclass(frozen=True, slots=True)
class TouchedBlocks:
    """The blocks that some ranges touch, and where they lie when put side by side."""

    block_bytes: int
    runs: npt.NDArray[np.int64]
    """Runs of adjacent blocks, half-open, shape [n, 2]."""
    places: npt.NDArray[np.int64]
    """For each block of the stream its place among the touched ones; -1 for the others."""

    @classmethod
    def of(cls, ranges: Sequence[Ranges], block_bytes: int, plain_bytes: int) -> TouchedBlocks:
        """For ranges of a plain stream of so many bytes."""
        count = -(-plain_bytes // block_bytes)
        touched = _covered([_blocks(part, block_bytes) for part in ranges], count)
        numbers = np.flatnonzero(touched)
        # Runs end where the next wanted block is too far away to be worth fetching what lies between.
        breaks = np.flatnonzero(np.diff(numbers) > _GAP_BLOCKS + 1)
        firsts = numbers[np.concatenate([[0], breaks + 1])] if numbers.size else numbers
        lasts = numbers[np.concatenate([breaks, [numbers.size - 1]])] + 1 if numbers.size else numbers
        runs = np.stack([firsts, lasts], axis=1).astype(np.int64)
        fetched = _covered([runs], count)
        return cls(block_bytes, runs, np.where(fetched, np.cumsum(fetched) - 1, -1))

    def allocate(self, reader: BlockReader) -> tuple[Bytes, list[Span]]:
        """Memory for the touched blocks, side by side, and the spans that fill it."""
        sizes = [reader.plain_span(first, last) for first, last in self.runs.tolist()]
        whole = aligned(sum(end - start for start, end in sizes))
        spans: list[Span] = []
        at = 0
        for (first, last), (start, end) in zip(self.runs.tolist(), sizes, strict=True):
            spans.append((first, last, whole.data[at : at + end - start]))
            at += end - start
        return whole, spans

    def compact(self, ranges: Ranges) -> Ranges:
        """Ranges of the stream as ranges of the memory that `allocate` made."""
        starts, ends = ranges[:, 0], ranges[:, 1]
        empty = starts >= ends
        number, within = np.divmod(np.where(empty, 0, starts), self.block_bytes)
        place = self.places[number] if self.places.size else number
        moved = np.where(empty, 0, place * self.block_bytes + within)
        return np.stack([moved, moved + np.where(empty, 0, ends - starts)], axis=1)


def gather_ranges(whole: Bytes, ranges: Ranges) -> memoryview:
    """The bytes of several ranges, joined in order; a view where they are one run."""
    lengths = ranges[:, 1] - ranges[:, 0]
    ranges, lengths = ranges[lengths > 0], lengths[lengths > 0]
    if not len(ranges):
        return memoryview(b"")
    if bool((ranges[1:, 0] == ranges[:-1, 1]).all()):
        return whole[int(ranges[0, 0]) : int(ranges[-1, 1])].data.toreadonly()
    width = int(lengths[0])
    if bool((lengths == width).all()):
        # Rows of one width: one vectorised take from overlapping windows, which cost no memory.
        windows = np.lib.stride_tricks.sliding_window_view(whole, width)
        return windows[ranges[:, 0]].reshape(-1).data.toreadonly()
    joined = np.concatenate([whole[start:end] for start, end in ranges.tolist()])
    return joined.data.toreadonly()


def aligned(nbytes: int) -> Bytes:
    """Uninitialised memory that starts at a multiple of 64, so that views for any dtype are aligned."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]


def _blocks(ranges: Ranges, block_bytes: int) -> npt.NDArray[np.int64]:
    """The half-open ranges of blocks that byte ranges touch."""
    wanted = ranges[ranges[:, 1] > ranges[:, 0]]
    return np.stack([wanted[:, 0] // block_bytes, -(-wanted[:, 1] // block_bytes)], axis=1)


def _covered(ranges: Sequence[npt.NDArray[np.int64]], count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` places lie in any of the half-open ranges."""
    steps = np.zeros(count + 1, np.int64)
    for part in ranges:
        np.add.at(steps, part[:, 0], 1)
        np.add.at(steps, part[:, 1], -1)
    return np.cumsum(steps[:-1]) > 0
