"""`HotMemory`: the tier on the GPUs (or on the CPU where there is none)."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CapacityExceeded, InvalidType, InvalidValue
from .blobs import Blob
from .budget import Budget
from .divided import DividedTier
from .eviction import EvictionOrder
from .items import MISSING, Item, one_value
from .machine import clamp_budget
from .metrics import usage_percent
from .record import Record
from .validation import check_choice, check_key, check_size_gb

if TYPE_CHECKING:
    import torch

    from .hot import PlantedBlob
    from .hot_layout import LayoutReport


class HotMemory(DividedTier):
    """Tensors and arrays on one or several devices.

    `size_gb` is the budget over all devices, in equal shares (a ceiling, clamped to what they have, with
    a warning). `device` is a name ("cuda:0"), several names, or None for the first GPU; where there is
    no CUDA the CPU takes its place, and the property `device` says so. `precision` ("float32",
    "float16", "bfloat16") narrows floating tensors and arrays when they are stored; None keeps what
    comes. Usage above `garbage_collection_threshold` (a fraction) frees what is expired or unreachable.

    A tensor comes back as a tensor of its own on its device (`lend` gives the stored one, without a
    copy), an array as an array. With several devices a value goes to the one with most room, unless
    `store` names one; eviction stays on the device. Thread-safe; see `Tier` for the rest.

    Examples:
        >>> import torch
        >>> from memories.core import HotMemory
        >>> with HotMemory(size_gb=0.1, device="cpu", precision="float16") as hot:
        ...     _ = hot.store("weights", torch.ones(4))
        ...     hot.retrieve("weights").dtype
        torch.float16
    """

    name = "hot memory"

    def __init__(
        self,
        size_gb: float = 2,
        *,
        device: str | Sequence[str] | None = None,
        precision: str | None = None,
        garbage_collection_threshold: float = 0.8,
        on_full: str = "raise",
        allow_pickle: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        size_bytes = check_size_gb("size_gb", size_gb)
        self.garbage_collection_threshold = _check_fraction(garbage_collection_threshold)
        # torch is imported here and not with the module: whoever has no hot memory does not wait for it.
        from .devices import device_bytes, find_devices
        from .hot import HotBlobs
        from .precision import PRECISIONS, precision_named

        if precision is not None:
            check_choice("precision", precision, PRECISIONS)
        self.precision = precision
        places = find_devices(device)
        self._hot = HotBlobs(places, precision_named(precision))
        capacity_bytes = clamp_budget(self.name, size_bytes, device_bytes(places))
        share_bytes = max(1, capacity_bytes // len(places))
        self._shares = {place: Budget(f"{self.name} on {place}", share_bytes, on_full) for place in places}
        self._collections = 0
        self._was_above_threshold = False
        super().__init__(
            self._hot,
            capacity_bytes=capacity_bytes,
            on_full=on_full,
            allow_pickle=allow_pickle,
            clock=clock,
        )

    @property
    def device(self) -> str:
        """The (first) device that is really used."""
        return self.devices[0]

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that is used."""
        return tuple(self._hot.places)

    def store(
        self,
        key: str,
        value: Any = MISSING,
        *,
        data: Any = MISSING,
        metadata: Mapping[str, Any] | None = None,
        priority: float = 0,
        ttl: float | None = None,
        pin: bool = False,
        device: str | None = None,
    ) -> Record:
        """As `Tier.store`, on `device` (one of `devices`) or on the one with most room."""
        if device is not None:
            check_choice("device", device, self.devices)
        item = Item(key, one_value(value, data), metadata, priority, ttl, pin)
        blobs = self._blobs_of([item], lambda item, record: self._plant(item, record, device))
        self._commit(blobs)
        return blobs[0].record

    def lend(self, key: str) -> torch.Tensor:
        """The stored tensor itself, at no cost. Whoever writes to it changes what is stored.

        Raises `KeyNotFound`, and `InvalidType` where the value is not a tensor.
        """
        from .hot_values import TensorLeaf

        blob = self._planted(key)
        root = blob.value.root
        if not isinstance(root, TensorLeaf):
            raise InvalidType(f"{key!r} is not a tensor, which alone can be lent: retrieve it")
        self._used(blob.record)
        return root.tensor

    def optimize_layout(self, key: str, layout: str = "auto") -> LayoutReport:
        """Hold a value in a better layout; its numbers stay the same. Says what was done.

        "contiguous" makes rows follow one another, "channels_last" is what convolutions on tensor cores
        want of 4-D tensors, "coalesced" puts all tensors of a container into one allocation (one
        transfer to another tier, no rounding to 512 bytes each), and "auto" does the first and, for
        containers, the last. Raises `KeyNotFound`.
        """
        from .hot_layout import LAYOUTS, optimized

        check_choice("layout", layout, LAYOUTS)
        with self._key_locks.hold([key]):
            planted = self._planted(key).value
            better, report = optimized(key, planted, layout)
            if better is not planted:
                self._hot.replant(key, better)
        return report

    def collect_garbage(self) -> int:
        """Free what is expired or unreachable, and give memory that torch keeps for later back to the
        driver; bytes by which the tier's usage fell."""
        from .devices import release_cached

        before = self.used_bytes
        self.expire()
        gc.collect()
        release_cached(self._hot.places)
        self._collections += 1
        return before - self.used_bytes

    def get_metrics(self) -> dict[str, Any]:
        """As `Tier.get_metrics`, with `device`, `precision`, `garbage_collections` and `devices` (by
        name: usage of each)."""
        metrics = super().get_metrics()
        devices = {}
        for place, share in self._shares.items():
            used_bytes = self._hot.used_on(place)
            devices[place] = {
                "usage_percent": usage_percent(used_bytes, share.capacity_bytes),
                "used_bytes": used_bytes,
                "capacity_bytes": share.capacity_bytes,
            }
        return {
            **metrics,
            "device": self.device,
            "devices": devices,
            "precision": self.precision,
            "garbage_collections": self._collections,
        }

    # How the base class stores and reads -----------------------------------------------------------

    def _prepare(self, item: Item, record: Record) -> Blob:
        return self._plant(item, record, None)

    def _plant(self, item: Item, record: Record, place: str | None) -> PlantedBlob:
        chosen = place or self._hot.roomiest()
        return self._with_memory(
            chosen, lambda: self._hot.plant(item.value, record, chosen, allow_pickle=self._allow_pickle)
        )

    def _with_memory(self, place: str, plant: Callable[[], PlantedBlob]) -> PlantedBlob:
        import torch

        try:
            return plant()
        except torch.OutOfMemoryError:
            self.collect_garbage()
        try:
            return plant()
        except torch.OutOfMemoryError as error:
            raise CapacityExceeded(
                f"{place} has no memory left for the value, within the budget of {self.name} as it is: "
                f"other programs may use the device. {error}"
            ) from error

    def _commit(self, blobs: Sequence[Blob]) -> None:
        # Copying to the device comes first: before any lock is taken.
        adopted: list[PlantedBlob] = []
        for blob in blobs:
            place = self._hot.roomiest()
            adopted.append(self._with_memory(place, lambda b=blob, p=place: self._hot.adopt(b, p)))  # type: ignore[misc]
        super()._commit(adopted)
        above = self.used_bytes > self.garbage_collection_threshold * (self.capacity_bytes or 0)
        if above and not self._was_above_threshold:
            self.collect_garbage()
        self._was_above_threshold = above

    def _find_room(self, blobs: Sequence[Blob], keys: set[str]) -> list[str]:
        from .hot import PlantedBlob

        last = {blob.record.key: blob for blob in blobs if isinstance(blob, PlantedBlob)}
        victims: list[str] = []
        for place in {blob.value.device for blob in last.values()}:
            members = [blob for blob in last.values() if blob.value.device == place]
            victims += self._shares[place].victims(
                used_bytes=self._hot.used_on(place),
                incoming_bytes=sum(blob.record.nbytes for blob in members),
                released_bytes=sum(
                    self._hot.stored_bytes(key) for key in keys if self._hot.place_of(key) == place
                ),
                priority=min(blob.record.priority for blob in members),
                nbytes_of=self._hot.stored_bytes,
                exclude=keys,
            )
        return victims

    def _restoring_budget(self) -> tuple[Budget, int] | None:
        if len(self._shares) > 1:
            return None  # which device a value goes to is known when it comes
        ((place, share),) = self._shares.items()
        return share, self._hot.used_on(place)

    def _read(self, key: str, copy: bool) -> tuple[Record, Any]:
        blob = self._planted(key)
        return blob.record, blob.value.read(copy)

    def _read_many(self, keys: Sequence[str], copy: bool) -> list[tuple[Record, Any]]:
        blobs = [self._planted(key) for key in keys]
        return [(blob.record, blob.value.read(copy)) for blob in blobs]

    def _read_part(
        self, key: str, start: int | None, end: int | None, rows: Sequence[int] | None, copy: bool
    ) -> tuple[Record, Any]:
        from .codec import rows_of
        from .hot import part_of
        from .hot_rows import has_rows, read_rows

        blob = self._planted(key)
        if has_rows(blob.value.root):
            return blob.record, read_rows(blob.value.root, start, end, rows, copy)
        whole = self._hot.get(key)
        try:
            selection = self._select(whole.record, start, end, rows)
        except InvalidType:
            # As in the other tiers: where the rows of texts, lists and frames lie is known to the value only.
            return blob.record, rows_of(blob.value.read(copy), start, end, rows)
        return blob.record, self._decode(selection.header, part_of(whole, selection), copy)

    def _planted(self, key: str) -> PlantedBlob:
        check_key(key)
        self._check_open()
        blob = self._hot.planted(key)
        self._check_present(blob.record)
        return blob

    def _orders(self) -> Iterable[EvictionOrder | None]:
        return (share.order for share in self._shares.values())

    def _order_of(self, key: str) -> EvictionOrder | None:
        place = self._hot.place_of(key)
        return None if place is None else self._shares[place].order


def _check_fraction(threshold: object) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise InvalidType(f"garbage_collection_threshold must be a number, not {type(threshold).__name__}")
    if not 0 < threshold <= 1:
        raise InvalidValue(f"garbage_collection_threshold must be above 0 and at most 1, not {threshold}")
    return float(threshold)
