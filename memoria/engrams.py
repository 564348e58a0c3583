"""A batch of rows of engrams: vectors, what they are, how long they live, and who fired with whom."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import checks
from .autograd import without_autograd
from .counts import copy_counts, same_counts
from .engram_tensors import NULL_FIELDS, EngramTensors
from .engram_type import EngramType
from .errors import InvalidArgument, InvalidShape
from .kernels import IntArray, LongArray
from .packing import BoolArray, left_packed, taken

if TYPE_CHECKING:
    from .history import EngramsInfo


class Engrams(EngramTensors):
    """B rows of up to M engrams of size D, oldest first; shorter rows are padded with NULL on the left.

    Small per-engram tensors are plain ones that may be changed in place: `engrams_types` [B, M] uint8,
    `lifespan` [B, M] float32, and, where tracked, `age` and `engram_ids` [B, M] int32 (None otherwise).
    `data` and `induce_counts` are put together when read: change them by assignment. A NULL slot, and any
    slot that index -1 selects, reads as zeros, lifespan -1, age and id -1.

    Not thread-safe. Takes part in no gradient. Nothing that a caller passes is kept or changed.

    Examples:
        >>> engrams = Engrams(torch.rand(2, 4, 8), engrams_types=EngramType.SHORTTERM, lifespan=3)
        >>> working = Engrams(torch.rand(2, 1, 8), engrams_types=EngramType.WORKING, lifespan=3)
        >>> len(engrams + working), (engrams + working).get_working_memory()[1].tolist()
        (10, [[4], [4]])
    """

    @classmethod
    def empty(cls, track_age: bool = False, track_engram_id: bool = False) -> Engrams:
        """No rows at all; takes the batch and hidden size of the first engrams that are added."""
        return cls(torch.empty(0, 0, 0, device="cpu"), track_age=track_age, track_engram_id=track_engram_id)

    @classmethod
    @without_autograd
    def restored(
        cls,
        data: torch.Tensor,
        fields: dict[str, torch.Tensor],
        fire_counts: IntArray,
        link_numbers: LongArray,
        link_targets: LongArray,
        link_counts: IntArray,
    ) -> Engrams:
        """Engrams from their parts: `link_numbers` [B, M] of the links belong to each engram.

        Checked by the caller. Links keep their order.
        """
        engrams = cls(
            data,
            engrams_types=fields["engrams_types"],
            lifespan=fields["lifespan"],
            age=fields.get("age"),
            engram_ids=fields.get("engram_ids"),
            track_age="age" in fields,
            track_engram_id="engram_ids" in fields,
        )
        graph, slots = engrams._store.graph, engrams._slots
        rows = np.repeat(np.arange(slots.size) // max(1, slots.shape[1]), link_numbers.reshape(-1))
        graph.set_fire_counts(slots.reshape(-1), fire_counts.reshape(-1))
        graph.set_edges(slots.reshape(-1), link_numbers.reshape(-1), slots[rows, link_targets], link_counts)
        return engrams

    # -- masks and indices ---------------------------------------------------------------------------

    @property
    def working_memory_mask(self) -> torch.Tensor:
        return self._types == EngramType.WORKING.value

    @property
    def shortterm_memory_mask(self) -> torch.Tensor:
        return self._types == EngramType.SHORTTERM.value

    @property
    def longterm_memory_mask(self) -> torch.Tensor:
        return self._types == EngramType.LONGTERM.value

    def get_working_memory(self) -> tuple[Engrams, torch.Tensor]:
        """The working engrams as engrams of their own, and their indices in here."""
        return self._masked(self.working_memory_mask)

    def get_shortterm_memory(self) -> tuple[Engrams, torch.Tensor]:
        """The short-term engrams as engrams of their own, and their indices in here."""
        return self._masked(self.shortterm_memory_mask)

    def get_longterm_memory(self) -> tuple[Engrams, torch.Tensor]:
        """The long-term engrams as engrams of their own, and their indices in here."""
        return self._masked(self.longterm_memory_mask)

    def get_indices_with_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Indices [B, K] where `mask` [B, M] is true; shorter rows start with -1."""
        return torch.from_numpy(left_packed(self._host_mask(mask))).to(self._device)

    def get_mask_with_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """A mask [B, M] that is true at `indices` [B, K]."""
        mask = np.zeros(self._shape, dtype=np.bool_)
        rows, columns = self._named(self.host_indices(indices))
        mask[rows, columns] = True
        return torch.from_numpy(mask).to(self._device)

    def get_local_indices_from_global_indices(
        self, mask: torch.Tensor, indices: torch.Tensor
    ) -> torch.Tensor:
        """Where each of `indices` [B, K] stands in ``mask_select(mask)``; -1 for one that is not in it."""
        subset = left_packed(self._host_mask(mask))
        local = np.full(self._shape, -1, dtype=np.int64)
        rows, columns = np.nonzero(subset >= 0)
        local[rows, subset[rows, columns]] = columns
        return torch.from_numpy(taken(local, self.host_indices(indices), -1)).to(self._device)

    # -- parts ---------------------------------------------------------------------------------------

    @without_autograd
    def select(self, indices: torch.Tensor) -> Engrams:
        """A copy of the engrams at `indices` [B, K] with the counts among them; -1 gives a NULL slot."""
        return self._taken(self.host_indices(indices))

    @without_autograd
    def mask_select(self, mask: torch.Tensor) -> Engrams:
        """A copy of the engrams where `mask` [B, M] is true; shorter rows get NULL slots on the left."""
        return self._taken(left_packed(self._host_mask(mask)))

    def __iter__(self) -> Iterator[Engrams]:
        """One `Engrams` of batch size 1 for each row, as copies."""
        for row in range(self.batch_size):
            yield self._taken(np.arange(self.memory_length)[None], rows=np.array([row]))

    @without_autograd
    def __add__(self, other: Engrams) -> Engrams:
        """Both, one after the other along the memory axis, as a copy; no pair across the two has fired."""
        if not isinstance(other, Engrams):
            return NotImplemented
        if not self.batch_size:
            return other._copy()
        if not other.batch_size:
            return self._copy()
        if (self.batch_size, self.hidden_dim) != (other.batch_size, other.hidden_dim):
            raise InvalidShape(f"cannot append {other!r} to {self!r}: batch and hidden size have to be equal")
        for name in ("track_age", "track_engram_id"):
            if getattr(self, name) != getattr(other, name):
                warnings.warn(f"{name} is off in the sum, as only one of the two has it", stacklevel=3)
        both = Engrams(torch.cat([self.data, other.data.to(self._device)], dim=1))
        both._types = torch.cat([self._types, other._types.to(self._device)], dim=1)
        both._lifespan = torch.cat([self._lifespan, other._lifespan.to(self._device)], dim=1)
        if self._age is not None and other._age is not None:
            both.age = torch.cat([self._age, other._age.to(self._device)], dim=1)
        if self._ids is not None and other._ids is not None:
            both.engram_ids = torch.cat([self._ids, other._ids.to(self._device)], dim=1)
        graph, middle = both._store.graph, self.memory_length
        copy_counts(self._store.graph, self._slots, graph, both._slots[:, :middle])
        copy_counts(other._store.graph, other._slots, graph, both._slots[:, middle:])
        return both

    @without_autograd
    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, counts included. Costs a copy of both."""
        if not isinstance(other, Engrams):
            return NotImplemented
        if self._shape != other._shape or self.hidden_dim != other.hidden_dim:
            return False
        for mine, theirs in zip(self._fields().values(), other._fields().values(), strict=True):
            if (mine is None) != (theirs is None):
                return False
            if mine is not None and theirs is not None and not torch.equal(mine, theirs.to(mine.device)):
                return False
        if not torch.equal(self.data, other.data.to(self._device)):
            return False
        return same_counts(self._store.graph, self._slots_read(), other._store.graph, other._slots_read())

    __hash__ = None  # type: ignore[assignment]

    # -- changes -------------------------------------------------------------------------------------

    @without_autograd
    def append(self, data: torch.Tensor, lifespan: float, first_engram_id: int = 0) -> None:
        """Adds WORKING engrams [B, W, D] behind the others, in place; costs no copy of what is stored.

        `data` has been checked by the caller to fit these engrams and to be finite.
        """
        batch_size, added, _ = data.shape
        if not self.batch_size:
            fresh = Engrams(
                data, None, None, lifespan, 0, first_engram_id, self.track_age, self.track_engram_id
            )
            self.__dict__.update(fresh.__dict__)
            return
        slots = self._store.append(data.flatten(0, 1)).reshape(batch_size, added)
        self._slots = np.concatenate([self._slots, slots], axis=1)
        self._shape = (batch_size, self.memory_length + added)
        new_fields: dict[str, torch.Tensor | float] = {
            "engrams_types": EngramType.WORKING.value,
            "lifespan": lifespan,
            "age": 0,
            "engram_ids": torch.arange(
                first_engram_id, first_engram_id + added, dtype=torch.int32, device="cpu"
            ),
        }
        for name, old in self._fields().items():
            if old is not None:
                new = torch.as_tensor(new_fields[name], dtype=old.dtype, device=old.device)
                self._assign(name, torch.cat([old, new.expand(batch_size, added)], dim=1))

    @without_autograd
    def delete(self, indices: torch.Tensor) -> None:
        """Removes the engrams at `indices` [B, K], in place; shorter rows get NULL slots on the left."""
        keep = self.host_types() != EngramType.NULL.value
        rows, columns = self._named(self.host_indices(indices))
        keep[rows, columns] = False
        self.keep_only(keep)

    @without_autograd
    def keep_only(self, keep: BoolArray) -> None:
        """Removes all engrams where `keep` [B, M] is false, in place."""
        if keep.all():
            return
        gone = self._slots[~keep & (self._slots >= 0)]
        places = left_packed(keep)
        self._store.drop(gone)
        self._slots = self._store.squeeze(taken(self._slots, places, -1))
        self._shape = (self.batch_size, places.shape[1])
        for name, old in self._fields().items():
            if old is not None:
                self._assign(name, _gathered(old, places, NULL_FIELDS[name]))

    @without_autograd
    def extend_lifespan(self, indices: torch.Tensor, lifespan_delta: torch.Tensor) -> None:
        """Adds `lifespan_delta` [B, K] to the engrams at `indices` [B, K]; an index given twice gets both.

        A sum beyond float32 is refused.
        """
        places = self.host_indices(indices)
        delta = checks.any_tensor("lifespan_delta", lifespan_delta)
        if tuple(delta.shape) != tuple(places.shape):
            raise InvalidShape(
                f"lifespan_delta has shape {tuple(delta.shape)} and indices {tuple(places.shape)}; "
                "give one delta for each index"
            )
        if delta.is_complex():
            raise InvalidArgument("lifespan_delta is complex; give real numbers")
        delta = delta.detach().to(self._device, torch.float32)
        checks.all_finite("lifespan_delta", delta)
        types = self.host_types()
        rows, which = np.nonzero(places >= 0)
        columns = places[rows, which]
        real = types[rows, columns] != EngramType.NULL.value
        who = tuple(torch.from_numpy(part[real]).to(self._device) for part in (rows, which, columns))
        at = (who[0], who[2])
        extended = self._lifespan.index_put(at, delta[who[0], who[1]], accumulate=True)
        if not bool(torch.isfinite(extended[at]).all()):
            raise InvalidArgument(
                f"lifespan_delta goes from {float(delta.min()):.4g} to {float(delta.max()):.4g}, which takes "
                "a lifespan beyond what float32 holds (3.4e38); give smaller ones"
            )
        self._lifespan = extended

    @without_autograd
    def decrease_lifespan(self) -> None:
        """One step less to live for every engram."""
        self._lifespan -= (self._types != EngramType.NULL.value).to(torch.float32)

    @without_autograd
    def increase_age(self) -> None:
        """One step older, where age is tracked."""
        if self._age is not None:
            self._age += (self._types != EngramType.NULL.value).to(torch.int32)

    @without_autograd
    def fire_together_wire_together(self, indices: torch.Tensor) -> None:
        """The engrams at `indices` [B, K] of a row fire together: counts of all ordered pairs grow by 1."""
        fired = np.zeros(self._shape, dtype=np.bool_)
        rows, columns = self._named(self.host_indices(indices))
        fired[rows, columns] = True
        self.wire(fired & (self.host_types() != EngramType.NULL.value))

    def wire(self, fired: BoolArray) -> None:
        """As `fire_together_wire_together`, for a mask [B, M]."""
        slots = self._slots[fired]
        self._store.graph.wire(slots, np.concatenate([[0], np.cumsum(fired.sum(axis=1))]))

    def status_summary(self) -> list[EngramsInfo]:
        """What each row holds, with every connection, as plain Python objects: for inspection.

        Needs engram ids and ages to be tracked.
        """
        from .history import summarize

        return summarize(self)

    # -- inside --------------------------------------------------------------------------------------

    def _copy(self) -> Engrams:
        return self._taken(np.broadcast_to(np.arange(self.memory_length), self._shape))

    def _masked(self, mask: torch.Tensor) -> tuple[Engrams, torch.Tensor]:
        indices = self.get_indices_with_mask(mask)
        return self.select(indices), indices

    def _host_mask(self, mask: torch.Tensor) -> BoolArray:
        checks.any_tensor("mask", mask)
        if tuple(mask.shape) != self._shape or mask.dtype != torch.bool:
            raise InvalidShape(
                f"mask has shape {tuple(mask.shape)} and dtype {mask.dtype}; "
                f"expected {self._shape} and torch.bool"
            )
        return mask.detach().cpu().numpy()

    def _named(self, places: LongArray) -> tuple[LongArray, LongArray]:
        rows, columns = np.nonzero(places >= 0)
        return rows, places[rows, columns]

    def _taken(self, places: LongArray, rows: LongArray | None = None) -> Engrams:
        """Copies of the engrams at `places` [R, K] of the given rows (all rows by default)."""
        own = np.arange(self.batch_size) if rows is None else rows
        on_device = torch.from_numpy(own).to(self._device)
        slots = taken(self._slots[own], places, -1)
        part = Engrams(
            self._store.read(slots),
            engrams_types=_gathered(self._types[on_device], places, NULL_FIELDS["engrams_types"]),
            lifespan=_gathered(self._lifespan[on_device], places, NULL_FIELDS["lifespan"]),
        )
        if self._age is not None:
            part.age = _gathered(self._age[on_device], places, NULL_FIELDS["age"])
        if self._ids is not None:
            part.engram_ids = _gathered(self._ids[on_device], places, NULL_FIELDS["engram_ids"])
        copy_counts(self._store.graph, slots, part._store.graph, part._slots)
        return part


def _gathered(field: torch.Tensor, places: LongArray, null: float) -> torch.Tensor:
    real = torch.from_numpy(places >= 0).to(field.device)
    return torch.where(
        real, field.gather(1, torch.from_numpy(np.maximum(places, 0)).to(field.device)), null
    ).to(field.dtype)
