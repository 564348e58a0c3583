"""Image columns that keep every distinct frame once.

A stack of the last four frames repeats three of them in the next step, and ``next_obs`` repeats ``obs``
of the row behind it: of eight frames that a row shows, one is new. `FrameColumn` stands in for the array
of a column, takes and gives whole stacks, and keeps what it is given in a `FramePool` that the image
columns of a buffer share. Frames are found again by content, so the saving needs no assumption about who
writes which rows in which order: other environments, n-step windows, episode starts (padded with
repeated or black frames) and relabelled goals are all just frames that are known or are not.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from .schema import ColumnSpec, Schema
from .wide import gather_wide

# Linux maps what is never touched for nothing, but refuses more than there is RAM unless told this.
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)

WRITE_ROWS = 64  # so many new rows may be held before the frames of the overwritten ones are given back


@dataclass(frozen=True)
class ImageStorage:
    """Which columns of a buffer keep their frames once, and how.

    ``stack_axis`` is the axis of one item along which frames are stacked: 0 for (4, 84, 84), -1 for
    (84, 84, 4); with None the whole item is one frame. Nested columns are named as in ``obs/image``.
    ``compression="lz4"`` packs every frame by itself: slower to write and to sample, worth it where RAM
    is what is short. Names that the schema does not have are refused when the buffer is built.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=100, images=ImageStorage(("obs", "next_obs"), stack_axis=0))
        >>> frames = np.zeros((5, 84, 84), np.uint8)
        >>> _ = buffer.add(obs=frames[:4], next_obs=frames[1:], reward=0.0)
        >>> buffer.sample(1)["obs"].shape
        (1, 4, 84, 84)
    """

    columns: Sequence[str] = ("obs", "next_obs")
    stack_axis: int | None = 0
    compression: Literal["lz4"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "columns", (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)
        )
        if self.compression not in (None, "lz4"):
            raise InvalidValue(f"compression is None or 'lz4'; got {self.compression!r}.")
        if not self.columns:
            raise InvalidValue("Name at least one image column.")

    def build(self, schema: Schema, capacity: int) -> dict[str, FrameColumn]:
        """The columns of a buffer; those with frames of one size share a pool."""
        built: dict[str, FrameColumn] = {}
        frames_at_most: dict[int, int] = {}
        layouts = {}
        for name in self.columns:
            if name not in schema:
                raise InvalidValue(
                    f"There is no column {name!r} to store as images; there are {schema.names}."
                )
            layout = layouts[name] = StackLayout.of(schema[name], self.stack_axis)
            frames_at_most[layout.frame_nbytes] = frames_at_most.get(
                layout.frame_nbytes, 0
            ) + layout.frames_per_item * (capacity + WRITE_ROWS)
        pools = {
            nbytes: FramePool(nbytes, count, self.compression) for nbytes, count in frames_at_most.items()
        }
        for name, layout in layouts.items():
            built[name] = FrameColumn(layout, capacity, pools[layout.frame_nbytes])
        return built


@dataclass(frozen=True)
class StackLayout:
    """How the item of a column is cut into frames."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int | None  # counted from the front

    @classmethod
    def of(cls, spec: ColumnSpec, stack_axis: int | None) -> StackLayout:
        rank = len(spec.shape)
        if stack_axis is None:
            return cls(spec.shape, spec.dtype, None)
        if not -rank <= stack_axis < rank:
            raise InvalidValue(
                f"Column {spec.name!r} has items of shape {spec.shape}: there is no axis {stack_axis} to "
                "take frames from."
            )
        return cls(spec.shape, spec.dtype, stack_axis % rank)

    @property
    def frames_per_item(self) -> int:
        return 1 if self.axis is None else self.shape[self.axis]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.shape if self.axis is None else self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def frame_nbytes(self) -> int:
        return int(np.prod(self.frame_shape, dtype=np.int64)) * self.dtype.itemsize

    def cut(self, items: NDArray[Any]) -> NDArray[np.uint8]:
        """Items of shape (n, ...) as the bytes of their frames: (n * frames_per_item, frame_nbytes)."""
        if self.axis is not None:
            items = np.moveaxis(items, 1 + self.axis, 1)
        count = len(items) * self.frames_per_item
        width = int(np.prod(self.frame_shape, dtype=np.int64))
        return np.ascontiguousarray(items).reshape(count, width).view(np.uint8)

    def join(self, frames: NDArray[np.uint8]) -> NDArray[Any]:
        """The inverse of `cut`; a view, so strides follow the frames."""
        stacked = frames.view(self.dtype).reshape(-1, self.frames_per_item, *self.frame_shape)
        return stacked[:, 0] if self.axis is None else np.moveaxis(stacked, 1, 1 + self.axis)


class FramePool:
    """Frames of one size, each kept once and counted. Not thread-safe: the buffer's lock guards it.

    Two frames are the same where their 128-bit xxh3 hashes are; for other than hand-made frames the
    chance of a mistake among a billion is below 1e-20. Memory for the most frames that may ever be needed
    is mapped, and taken from the machine as frames arrive; places of forgotten frames are used again.
    """

    def __init__(self, frame_nbytes: int, max_frames: int, compression: str | None = None) -> None:
        if frame_nbytes < 1:
            raise InvalidValue("Frames of zero bytes cannot be stored.")
        self.frame_nbytes = frame_nbytes
        self.max_frames = max_frames
        self._id_of: dict[int, int] = {}
        self._digests: list[int] = []
        self._free: list[int] = []
        self._uses: NDArray[np.int32] = np.zeros(max_frames, np.int32)
        self._codec: Any = None
        self._packed: list[bytes] = []
        if compression is None:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
            memory = mmap.mmap(-1, max_frames * frame_nbytes, flags=flags)
            self._frames = np.frombuffer(memory, np.uint8).reshape(max_frames, frame_nbytes)
        else:
            import pyarrow as pa

            self._codec = pa.Codec("lz4_raw")

    def __len__(self) -> int:
        """Distinct frames that are in use."""
        return len(self._id_of)

    @property
    def nbytes(self) -> int:
        """Bytes in RAM: frames (also those of places that wait for reuse), their index and counts."""
        places = len(self._digests)
        payload = sum(map(len, self._packed)) if self._codec else places * self.frame_nbytes
        # A dict entry and a 128-bit integer, as sys.getsizeof shows them; 4 bytes for the count.
        return payload + places * (104 + 44 + 8 + 4)

    def intern(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Keep these frames, one use each; returns their ids. Equal frames have equal ids."""
        from xxhash import xxh3_128_intdigest

        known = self._id_of
        ids = np.empty(len(frames), np.int64)
        # One step of Python a frame, which reads kilobytes in the same time.
        for i, frame in enumerate(frames):
            digest = xxh3_128_intdigest(frame)
            found = known.get(digest)
            ids[i] = self._keep(digest, frame) if found is None else found
        np.add.at(self._uses, ids, 1)
        return ids

    def release(self, ids: NDArray[np.int64]) -> None:
        """Take one use back from each; a frame without uses is forgotten and its place free."""
        np.subtract.at(self._uses, ids, 1)
        for place in np.unique(ids[self._uses[ids] == 0]).tolist():
            del self._id_of[self._digests[place]]
            self._free.append(place)
            if self._codec:
                self._packed[place] = b""

    def gather(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies of frames by id: (len(ids), frame_nbytes)."""
        if self._codec is None:
            return gather_wide(self._frames, ids)
        frames = np.empty((len(ids), self.frame_nbytes), np.uint8)
        places, positions = np.unique(ids, return_inverse=True)
        unpacked = np.empty((len(places), self.frame_nbytes), np.uint8) if len(places) < len(ids) else frames
        for row, place in enumerate(places.tolist()):
            buffer = self._codec.decompress(self._packed[place], self.frame_nbytes)
            unpacked[row] = np.frombuffer(buffer, np.uint8)
        return unpacked.take(positions, axis=0)

    def _keep(self, digest: int, frame: NDArray[np.uint8]) -> int:
        packed = self._codec.compress(frame, asbytes=True) if self._codec else b""
        if self._free:
            place = self._free.pop()
            self._digests[place] = digest
        else:
            place = len(self._digests)
            self._digests.append(digest)
            if self._codec:
                self._packed.append(packed)
        if self._codec:
            self._packed[place] = packed
        else:
            self._frames[place] = frame
        self._id_of[digest] = place
        return place


class FrameColumn:
    """Stands in for the array of one column, shape (capacity, ...): assign rows, `take` rows.

    Not thread-safe: the buffer's lock guards it. A row that is overwritten gives its frames back.
    """

    def __init__(self, layout: StackLayout, capacity: int, pool: FramePool) -> None:
        self.layout = layout
        self.pool = pool
        self.shape = (capacity, *layout.shape)
        self.dtype = layout.dtype
        self._ids: NDArray[np.int64] = np.full((capacity, layout.frames_per_item), -1, np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the ids; the frames are in the pool."""
        return self._ids.nbytes

    def __setitem__(self, rows: Any, items: Any) -> None:
        """Write rows (an index, a slice, or an array of different indices)."""
        items = np.asarray(items, self.dtype)
        if isinstance(rows, int | np.integer):
            rows, items = slice(rows, rows + 1), items[None]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        for start in range(0, len(rows), WRITE_ROWS):
            part = slice(start, start + WRITE_ROWS)
            self._write(rows[part], items[part])

    def _write(self, rows: NDArray[np.int64], items: NDArray[Any]) -> None:
        previous = self._ids[rows].reshape(-1)
        # The new frames first: what both rows show must not be forgotten in between.
        self._ids[rows] = self.pool.intern(self.layout.cut(items)).reshape(-1, self.layout.frames_per_item)
        self.pool.release(previous[previous >= 0])

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Copies of rows (an index, a slice, or an array of indices); of rows never written, zeros."""
        if isinstance(rows, int | np.integer):
            item: NDArray[Any] = self[slice(rows, rows + 1)][0]
            return item
        ids = self._ids[rows].reshape(-1)
        written = ids >= 0
        frames = np.zeros((len(ids), self.pool.frame_nbytes), np.uint8)
        frames[written] = self.pool.gather(ids[written])
        return self.layout.join(frames)

    def take(self, rows: NDArray[np.int64], axis: int = 0, mode: str = "clip") -> NDArray[Any]:
        """As `numpy.ndarray.take` along the first axis."""
        return self.layout.join(self.pool.gather(self._ids.take(rows, axis=0, mode="clip").reshape(-1)))
