"""`Parcel`: encoded values on their way from a writer to the tier actors.

Small values travel inside the message. A large value is put into the writer's object store once, as a
list of byte arrays; the message carries the reference, and whoever gets it on the same node sees the
same shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    @property
    def nbytes(self) -> int:
        return sum(self.lengths) + len(self.header)


@dataclass(frozen=True, slots=True)
class Parcel:
    """The values of one store request, by position."""

    values: tuple[Packed, ...]


def pack(encoded: Encoded, metadata: Mapping[str, Any] | None = None) -> Packed:
    """Make a value ready to travel; a large one costs one copy, into the object store."""
    lengths = tuple(buffer.nbytes for buffer in encoded.buffers)
    if encoded.nbytes < INLINE_BYTES:
        joined = b"".join(encoded.buffers)
        return Packed(encoded.header, lengths, encoded.has_pickle, metadata or {}, joined)
    arrays = [np.frombuffer(buffer, np.uint8) for buffer in encoded.buffers]
    return Packed(encoded.header, lengths, encoded.has_pickle, metadata or {}, None, ray.put(arrays))


def split(joined: bytes | memoryview, lengths: Sequence[int]) -> tuple[memoryview, ...]:
    """Views of the buffers that were joined."""
    whole = memoryview(joined)
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return tuple(whole[end - length : end] for end, length in zip(ends, lengths, strict=True))


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
