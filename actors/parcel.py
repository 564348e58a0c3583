"""`Parcel`: encoded values on their way from a writer to the tier actors.

Small values travel inside the message, as long as they are few. A large value is put into the writer's
object store once, as a list of byte arrays, and many small ones together, as one slab; the message carries
the reference, and whoever gets it on the same node sees the same shared memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from ..errors import DeadlineExceeded, Unavailable
from ..tiers.encoded import Encoded

Bytes = npt.NDArray[np.uint8]

INLINE_BYTES = 100_000
"""Below this a value travels in the message: Ray itself keeps objects of that size out of shared memory."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One value: its header, and its bytes (buffers joined) or a reference to a list of byte arrays."""

    header: bytes
    lengths: tuple[int, ...]
    has_pickle: bool
    metadata: Mapping[str, Any]
    inline: bytes | None
    ref: ray.ObjectRef[Any] | None = None


@dataclass(frozen=True, slots=True)
class Parcel:
    """The values of one store request, as columns; the same objects where rows are alike, so that ten
    thousand values cost the message little more than their bytes.

    `slab` has the bytes of all small values, one after another, or refers to them as a byte array where
    together they are large; value i is the slab from `ends[i - 1]` to `ends[i]`. A value with a reference
    of its own in `refs` has none there.
    """

    headers: tuple[bytes, ...]
    lengths: tuple[tuple[int, ...], ...]
    ends: tuple[int, ...]
    slab: bytes | ray.ObjectRef[Any]
    refs: Mapping[int, ray.ObjectRef[Any]]
    metadata: Mapping[int, Mapping[str, Any]]
    """By position, where there is any."""
    pickled: frozenset[int] = frozenset()
    """Positions of the values of which some part is pickled."""

    @property
    def is_plain(self) -> bool:
        """Whether there are no references in it, which only Ray may pass on."""
        return not self.refs and isinstance(self.slab, bytes)

    def sizes(self) -> tuple[int, ...]:
        """What the budget counts for each value."""
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        sizes = []
        for header, lengths in zip(self.headers, self.lengths, strict=True):
            kind = (len(header), lengths)
            size = known.get(kind)
            if size is None:
                size = known[kind] = len(header) + sum(lengths)
            sizes.append(size)
        return tuple(sizes)

    def opened(self, slab: bytes | Bytes, positions: Iterable[int]) -> Iterator[Packed]:
        """The values at these positions; `slab` is what the parcel's slab is or refers to."""
        whole: memoryview = slab.data if isinstance(slab, np.ndarray) else memoryview(slab)
        ends, refs, metadata, pickled = self.ends, self.refs, self.metadata, self.pickled
        for position in positions:
            ref = refs.get(position) if refs else None
            inline = None
            if ref is None:
                # A private copy: a view would keep the whole slab alive for one value.
                inline = bytes(whole[ends[position - 1] if position else 0 : ends[position]])
            yield Packed(
                self.headers[position],
                self.lengths[position],
                position in pickled,
                metadata.get(position, _NOTHING),
                inline,
                ref,
            )


_NOTHING: Mapping[str, Any] = {}


def pack_many(values: Sequence[Encoded], metadata: Sequence[Mapping[str, Any]]) -> Parcel:
    """Make values ready to travel. Large ones cost one copy each, into the object store; so do small ones
    together."""
    alike: dict[Any, Any] = {}
    headers, lengths, ends = [], [], []
    pieces: list[memoryview] = []
    refs: dict[int, ray.ObjectRef[Any]] = {}
    end = 0
    for position, value in enumerate(values):
        buffers = value.buffers
        headers.append(alike.setdefault(value.header, value.header))
        of_each = tuple([buffer.nbytes for buffer in buffers])
        lengths.append(alike.setdefault(of_each, of_each))
        if value.nbytes < INLINE_BYTES:
            pieces += buffers
            end += value.nbytes
        else:
            refs[position] = ray.put([np.frombuffer(buffer, np.uint8) for buffer in buffers])
        ends.append(end)
    joined = b"".join(pieces)
    slab: bytes | ray.ObjectRef[Any] = joined
    if end >= INLINE_BYTES:
        slab = ray.put(np.frombuffer(joined, np.uint8))
    return Parcel(
        tuple(headers),
        tuple(lengths),
        tuple(ends),
        slab,
        refs,
        {position: said for position, said in enumerate(metadata) if said},
        frozenset(position for position, value in enumerate(values) if value.has_pickle),
    )


def split(joined: bytes | memoryview, lengths: Sequence[int]) -> tuple[memoryview, ...]:
    """Views of the buffers that were joined."""
    whole = memoryview(joined)
    if len(lengths) == 1:
        return (whole,)
    parts, end = [], 0
    for length in lengths:
        start, end = end, end + length
        parts.append(whole[start:end])
    return tuple(parts)


def views(arrays: Sequence[Bytes]) -> tuple[memoryview, ...]:
    """Byte views of arrays that came out of the object store (read-only where they are shared memory)."""
    return tuple(array.data.cast("B") if array.nbytes else memoryview(b"") for array in arrays)


def fetch(ref: ray.ObjectRef[Any], timeout_s: float) -> tuple[memoryview, ...]:
    """The buffers behind a reference.

    Raises `DeadlineExceeded` when they do not come in time and `Unavailable` when the reference is dead:
    its owner has gone, so the caller asks somebody who holds the bytes.
    """
    try:
        return views(ray.get(ref, timeout=timeout_s))
    except ray.exceptions.GetTimeoutError as error:
        raise DeadlineExceeded(
            f"a value did not come out of the object store within {timeout_s:g} s"
        ) from error
    except ray.exceptions.RayError as error:
        raise Unavailable(f"a reference to a value is dead: {type(error).__name__}") from error
