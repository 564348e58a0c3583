"""The tensors of a batch of rows of engrams, and their checks."""

from __future__ import annotations

import numbers

import numpy as np
import numpy.typing as npt
import torch

from . import checks
from .autograd import without_autograd
from .counts import Cofirings, cofirings, dense_counts, fire_counts, set_dense_counts
from .engram_type import EngramType
from .errors import InvalidArgument, InvalidShape, InvalidType
from .kernels import IntArray, LongArray
from .slots import SlotStore

NULL_FIELDS = {"engrams_types": EngramType.NULL.value, "lifespan": -1.0, "age": -1, "engram_ids": -1}
_DTYPES = {
    "engrams_types": torch.uint8,
    "lifespan": torch.float32,
    "age": torch.int32,
    "engram_ids": torch.int32,
    "fire_count": torch.int32,
}
_INT32 = torch.iinfo(torch.int32)
_RANGES = {
    "engrams_types": (EngramType.NULL.value, EngramType.LONGTERM.value),
    "age": (_INT32.min, _INT32.max),
    "engram_ids": (_INT32.min, _INT32.max),
    "fire_count": (0, _INT32.max),
}


class EngramTensors:
    """What `Engrams` is made of: small fields, and vectors and counts kept in slots.

    Whatever is read or assigned has the shapes that `Engrams` documents.
    """

    @without_autograd
    def __init__(
        self,
        data: torch.Tensor,
        induce_counts: torch.Tensor | None = None,
        engrams_types: torch.Tensor | EngramType | None = None,
        lifespan: torch.Tensor | float = 0,
        age: torch.Tensor | int | None = None,
        engram_ids: torch.Tensor | int | None = None,
        track_age: bool = False,
        track_engram_id: bool = False,
    ) -> None:
        """`data` [B, M, D]; `induce_counts` [B, M, M], none fired by default; the rest [B, M] or one value.

        `engrams_types` is WORKING by default. An int for `engram_ids` numbers the columns from there.
        """
        checks.float_tensor("data", data, rank=3, shape_means="[batch, memory, hidden]")
        batch_size, memory_length, hidden_dim = data.shape
        vectors = data.detach().to(torch.float32)
        checks.all_finite("data", vectors)
        self.track_age, self.track_engram_id = track_age, track_engram_id
        self._shape = (batch_size, memory_length)
        self._device = data.device
        types = EngramType.WORKING if engrams_types is None else engrams_types
        self._types = self._field("engrams_types", types.value if isinstance(types, EngramType) else types)
        self._lifespan = self._field("lifespan", lifespan)
        self._age = self._field("age", 0 if age is None else age) if track_age else None
        self._ids: torch.Tensor | None = None
        if track_engram_id:
            ids: torch.Tensor | int | None = 0 if engram_ids is None else engram_ids
            if not isinstance(ids, torch.Tensor):
                first = checks.whole_number("engram_ids", ids, 0)
                if first > _INT32.max:
                    raise InvalidArgument(f"engram_ids is {first}; ids are at most {_INT32.max}")
                ids = (torch.arange(memory_length, device="cpu") + first).expand(batch_size, memory_length)
            self._ids = self._field("engram_ids", ids)
        counts = None if induce_counts is None else self._checked_counts(induce_counts)
        self._store = SlotStore(hidden_dim, data.device)
        self._slots: LongArray = self._store.append(vectors.flatten(0, 1)).reshape(self._shape)
        if counts is not None:
            set_dense_counts(self._store.graph, self._slots, counts)

    # -- shape ---------------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        return self._shape[0]

    @property
    def memory_length(self) -> int:
        """Slots a row, padding included."""
        return self._shape[1]

    @property
    def hidden_dim(self) -> int:
        return self._store.hidden_dim

    @property
    def device(self) -> torch.device:
        return self._device

    def __len__(self) -> int:
        return self.batch_size * self.memory_length

    def __repr__(self) -> str:
        shape = (
            f"batch_size={self.batch_size}, memory_length={self.memory_length}, hidden_dim={self.hidden_dim}"
        )
        return f"Engrams({shape})"

    # -- tensors -------------------------------------------------------------------------------------

    @property
    def engrams_types(self) -> torch.Tensor:
        """What each slot holds, as values of `EngramType`; [B, M] uint8."""
        return self._types

    @engrams_types.setter
    def engrams_types(self, value: torch.Tensor | int) -> None:
        self._types = self._field("engrams_types", value)

    @property
    def lifespan(self) -> torch.Tensor:
        """Steps that each engram has left; [B, M] float32."""
        return self._lifespan

    @lifespan.setter
    def lifespan(self, value: torch.Tensor | float) -> None:
        self._lifespan = self._field("lifespan", value)

    @property
    def age(self) -> torch.Tensor | None:
        """Steps since each engram was added; [B, M] int32, or None if not tracked."""
        return self._age

    @age.setter
    def age(self, value: torch.Tensor | int | None) -> None:
        self._age = None if value is None else self._field("age", value)
        self.track_age = value is not None

    @property
    def engram_ids(self) -> torch.Tensor | None:
        """What stays the same when indices move; [B, M] int32, or None if not tracked."""
        return self._ids

    @engram_ids.setter
    def engram_ids(self, value: torch.Tensor | int | None) -> None:
        self._ids = None if value is None else self._field("engram_ids", value)
        self.track_engram_id = value is not None

    @property
    @without_autograd
    def data(self) -> torch.Tensor:
        """All vectors, [B, M, D] float32: a new tensor that costs a copy of everything stored."""
        return self._store.read(self._slots_read())

    @data.setter
    @without_autograd
    def data(self, value: torch.Tensor) -> None:
        checks.float_tensor("data", value, rank=3, shape_means="[batch, memory, hidden]")
        expected = (*self._shape, self.hidden_dim)
        if tuple(value.shape) != expected:
            raise InvalidShape(f"data has shape {tuple(value.shape)}; these engrams have {expected}")
        vectors = value.detach().to(self._device, torch.float32)
        checks.all_finite("data", vectors)
        rows, columns = np.nonzero(self._slots >= 0)
        self._store.write(
            self._slots[rows, columns], vectors[torch.from_numpy(rows), torch.from_numpy(columns)]
        )

    @property
    @without_autograd
    def induce_counts(self) -> torch.Tensor:
        """How often each pair fired together, [B, M, M] int32, fire counts on the diagonal.

        Kept sparse inside: reading builds all B * M * M numbers (4 MB for 1,000 engrams, 40 GB for
        100,000), and assigning reads as many. For small networks and for tests.
        """
        return torch.from_numpy(dense_counts(self._store.graph, self._slots_read())).to(self._device)

    @induce_counts.setter
    @without_autograd
    def induce_counts(self, value: torch.Tensor) -> None:
        set_dense_counts(self._store.graph, self._slots, self._checked_counts(value))

    @property
    @without_autograd
    def fire_count(self) -> torch.Tensor:
        """How often each engram fired; [B, M] int32, 0 or more. Assign to change it."""
        return torch.from_numpy(fire_counts(self._store.graph, self._slots_read())).to(self._device)

    @fire_count.setter
    def fire_count(self, value: torch.Tensor | int) -> None:
        counts = self._field("fire_count", value).cpu().numpy()
        used = self._slots >= 0
        self._store.graph.set_fire_counts(self._slots[used], counts[used])

    def cofirings(self) -> Cofirings:
        """The sparse form of `induce_counts` without the diagonal; costs what has fired."""
        return cofirings(self._store.graph, self._slots_read())

    # -- for this package ----------------------------------------------------------------------------

    @property
    def store(self) -> SlotStore:
        return self._store

    @property
    def slots(self) -> LongArray:
        """The slot of each engram, ascending in a row; -1 in padding."""
        return self._slots

    def columns_of(self, rows: LongArray, slots: LongArray) -> LongArray:
        """The columns at which slots [n] of rows [n] stand."""
        keys = self._slots
        if self.batch_size > 1:  # slots ascend in a row; made to ascend over all rows
            keys = keys + np.arange(self.batch_size)[:, None] * self._store.slot_count
            slots = slots + rows * self._store.slot_count
        return np.searchsorted(keys.reshape(-1), slots) - rows * self.memory_length

    def host_types(self) -> npt.NDArray[np.uint8]:
        """`engrams_types` on the host (shares memory on the CPU); NULL wherever there is no slot."""
        types: npt.NDArray[np.uint8] = self._types.cpu().numpy()
        if self.batch_size > 1 and (self._slots < 0).any():
            types = np.where(self._slots < 0, np.uint8(EngramType.NULL.value), types)
        return types

    def _slots_read(self) -> LongArray:
        """`slots`, with -1 also for an engram whose type was changed to NULL."""
        return np.where(self.host_types() == EngramType.NULL.value, -1, self._slots)

    def host_indices(self, indices: torch.Tensor) -> LongArray:
        """Checked `indices` [B, K] on the host, as a copy."""
        checks.index_tensor("indices", indices, batch_size=self.batch_size, slots=self.memory_length)
        return indices.detach().to("cpu", torch.int64, copy=True).numpy()

    def _fields(self) -> dict[str, torch.Tensor | None]:
        return {
            "engrams_types": self._types,
            "lifespan": self._lifespan,
            "age": self._age,
            "engram_ids": self._ids,
        }

    def _assign(self, name: str, value: torch.Tensor) -> None:
        attribute = {"engrams_types": "_types", "lifespan": "_lifespan", "age": "_age", "engram_ids": "_ids"}
        setattr(self, attribute[name], value)

    @without_autograd
    def _field(self, name: str, value: object) -> torch.Tensor:
        """`value` as a tensor [B, M] of the field's dtype that nobody else holds."""
        if not isinstance(value, (torch.Tensor, numbers.Real)):
            raise InvalidType(f"{name} is a {type(value).__name__}; give a tensor or a number")
        if isinstance(value, torch.Tensor):
            tensor = checks.any_tensor(name, value)
        else:
            tensor = torch.tensor(checks.real_number(name, value), dtype=torch.float64, device="cpu")
        if tensor.dim() and tuple(tensor.shape) != self._shape:
            raise InvalidShape(
                f"{name} has shape {tuple(tensor.shape)}; expected {self._shape} ([batch, memory])"
            )
        if tensor.is_complex():
            raise InvalidType(f"{name} has dtype {tensor.dtype}; give real numbers")
        if name in _RANGES:
            checks.whole_numbers(name, tensor, *_RANGES[name])
        field = tensor.detach().to(self._device, _DTYPES[name]).expand(self._shape).clone()
        if field.is_floating_point():
            checks.all_finite(name, field)
        return field

    def _checked_counts(self, value: torch.Tensor) -> IntArray:
        counts = checks.any_tensor("induce_counts", value)
        expected = (*self._shape, self.memory_length)
        if tuple(counts.shape) != expected:
            raise InvalidShape(f"induce_counts has shape {tuple(counts.shape)}; expected {expected}")
        checks.whole_numbers("induce_counts", counts, 0, _INT32.max)
        return counts.detach().to("cpu", torch.int32).numpy()
