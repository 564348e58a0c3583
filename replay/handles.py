"""64-bit handles: which shard, which slot, and which of the rows that have lived in that slot.

    bit 63      0, so that a handle is a non-negative int64 (torch has no full uint64)
    bits 62-51  shard, 0..4095
    bits 50-0   generation, then slot; the slot takes as many bits as the capacity needs

The generation of a slot grows by one with every row that is written into it. The split inside the low
51 bits follows the capacity, so a handle value comes back only after 2**51 rows were written into one
shard (71 years at a million a second): no handle that anyone still holds ever means another row.
The shard is at a fixed place, so whoever routes a handle needs no capacity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidType, InvalidValue

SHARD_BITS = 12
LOCAL_BITS = 51
MAX_SHARDS = 1 << SHARD_BITS
MAX_CAPACITY = 1 << 40  # leaves at least 2**11 generations to a slot

Handles = NDArray[np.int64]
Slots = NDArray[np.int64]


def shard_of(handles: Any) -> NDArray[np.int64]:
    """The shard of each handle (vectorised).

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, shard=3)
        >>> shard_of(buffer.add_batch({"x": np.arange(2)})).tolist()
        [3, 3]
    """
    return as_handles(handles) >> LOCAL_BITS


def as_handles(handles: Any) -> Handles:
    """Handles as a one-dimensional int64 array: from an array, a list, one integer or a torch tensor."""
    if hasattr(handles, "detach"):
        handles = handles.detach().cpu()
    array = np.asarray(handles)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidType(f"Handles are integers, got dtype {array.dtype}. Pass batch.handles as it is.")
    return array.astype(np.int64, copy=False).reshape(-1)


class HandleLayout:
    """Packs and unpacks the handles of one shard. Stateless."""

    __slots__ = ("base", "shard", "slot_bits", "slot_mask")

    def __init__(self, capacity: int, shard: int = 0) -> None:
        if not 0 <= shard < MAX_SHARDS:
            raise InvalidValue(f"shard is {shard}, must be in 0..{MAX_SHARDS - 1}.")
        if not 1 <= capacity <= MAX_CAPACITY:
            raise InvalidValue(f"capacity is {capacity} rows, must be in 1..{MAX_CAPACITY}.")
        self.shard = shard
        self.slot_bits = max(1, (capacity - 1).bit_length())
        self.slot_mask = (1 << self.slot_bits) - 1
        self.base = shard << LOCAL_BITS

    def first(self, capacity: int) -> Handles:
        """The handle of generation 0 for each slot. Generation 0 is never given out."""
        return np.arange(self.base, self.base + capacity, dtype=np.int64)

    @property
    def step(self) -> int:
        """What to add to a slot's handle to get the handle of its next generation."""
        return 1 << self.slot_bits

    def slots(self, handles: Handles) -> Slots:
        """The slot bits of each handle; they may lie beyond the capacity if the handle is foreign."""
        return handles & self.slot_mask
