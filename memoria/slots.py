"""Where the vectors and the graph of engrams are kept: in slots that do not move when others die.

The visible order of engrams changes with every removal; moving 100,000 vectors each time would cost more
than everything else in a step. So a vector and a graph node stay in their slot, and only small
per-engram arrays are rearranged. Dead slots are squeezed out once there are many.
"""

from __future__ import annotations

import numpy as np
import torch

from .graph import CofiringGraph
from .kernels import LongArray
from .packing import BoolArray

_GROWTH = 1.5
_FEW_DEAD_SLOTS = 1024
_SQUEEZE_VECTORS = 4096
_WASTED_VECTORS = 4
_CHUNK_ELEMENTS = {"cpu": (1 << 15) - 1}
"""Elements of one tensor operation. On the CPU just too few for torch to start its threads: waking them
costs more than they bring here, and far more where other processes want the same cores."""
_DEAD_SHARE_WORTH_SQUEEZING = 1 / 3


class SlotStore:
    """Vectors [slots, D] float32 on one device, and the co-firing graph on the host. Not thread-safe."""

    def __init__(self, hidden_dim: int, device: torch.device) -> None:
        self.graph = CofiringGraph()
        self._vectors = torch.empty(0, hidden_dim, dtype=torch.float32, device=device)
        self._dead = 0

    @property
    def device(self) -> torch.device:
        return self._vectors.device

    @property
    def hidden_dim(self) -> int:
        return self._vectors.shape[1]

    @property
    def slot_count(self) -> int:
        """Slots ever handed out and not squeezed out, dead ones included."""
        return self.graph.node_count

    def append(self, vectors: torch.Tensor) -> LongArray:
        """Stores vectors [n, D]; returns their slots, which are higher than all before."""
        first, needed = self.slot_count, self.slot_count + len(vectors)
        if needed > len(self._vectors):
            capacity = max(needed, int(len(self._vectors) * _GROWTH))
            grown = torch.empty(capacity, self.hidden_dim, dtype=torch.float32, device=self.device)
            grown[:first] = self._vectors[:first]
            self._vectors = grown
        self._vectors[first:needed] = vectors
        self.graph.add_nodes(len(vectors))
        return np.arange(first, needed)

    def read(self, slots: LongArray) -> torch.Tensor:
        """Vectors of slots of any shape [...] as a new tensor [..., D]; -1 reads as zeros."""
        flat = slots.reshape(-1)
        none = flat < 0
        if not none.any():
            vectors = self._vectors.index_select(0, self._on_device(flat))
        elif none.all():
            vectors = torch.zeros(len(flat), self.hidden_dim, dtype=torch.float32, device=self.device)
        else:
            vectors = self._vectors.index_select(0, self._on_device(np.where(none, 0, flat)))
            vectors[self._on_device(none)] = 0
        return vectors.reshape(*slots.shape, self.hidden_dim)

    def write(self, slots: LongArray, vectors: torch.Tensor) -> None:
        """Overwrites the vectors of slots [n] with [n, D]."""
        self._vectors[self._on_device(slots)] = vectors

    def drop(self, slots: LongArray) -> None:
        """Frees slots. They are not handed out again before they were squeezed out."""
        self.graph.drop(slots)
        self._dead += len(slots)

    def squeeze(self, in_use: LongArray) -> LongArray:
        """Drops dead slots for good if there are many; returns the new numbers of `in_use` (-1 stays).

        Costs a copy of everything, and is due once in a number of deaths that is a share of the living.
        """
        living = self.slot_count - self._dead
        if self._dead <= max(_FEW_DEAD_SLOTS, living * _DEAD_SHARE_WORTH_SQUEEZING):
            return in_use
        new_of_old = np.full(self.slot_count, -1, dtype=np.int64)
        old = np.sort(in_use[in_use >= 0])
        new_of_old[old] = np.arange(len(old))
        # In place: vectors only move to the front, so that a part that was read may be overwritten.
        for begin in range(0, len(old), _SQUEEZE_VECTORS):
            part = old[begin : begin + _SQUEEZE_VECTORS]
            moved = self._vectors.index_select(0, self._on_device(part))
            self._vectors[begin : begin + len(part)] = moved
        if len(old) * _WASTED_VECTORS < len(self._vectors):
            self._vectors = self._vectors[: len(old)].clone()
        self.graph.renumber(new_of_old, len(old))
        self._dead = 0
        return np.where(in_use >= 0, new_of_old[in_use], -1)

    def squared_distances(
        self, slots: LongArray, centre_of: LongArray, centres: torch.Tensor
    ) -> torch.Tensor:
        """||x - c||^2 in float64 for the vector x of each slot and its centre (a row of `centres`).

        Slot -1 is the zero vector. Sums of squares of differences, row by row, so that the result for one
        pair does not depend on which others are asked for.
        """
        result = torch.empty(len(slots), dtype=torch.float64, device=self.device)
        chunk = max(1, _CHUNK_ELEMENTS.get(self.device.type, 1 << 20) // self.hidden_dim)
        for begin in range(0, len(slots), chunk):
            part = slice(begin, begin + chunk)
            difference = self.read(slots[part]).double()
            difference -= centres.index_select(0, self._on_device(centre_of[part]))
            torch.sum(difference.square_(), dim=1, out=result[part])
        return result

    def _on_device(self, array: LongArray | BoolArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
