"""`HotBlobs`: values on one or several devices, seen as blobs by those who move them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .blobs import Blob
from .checksum import checksum
from .codec import decode, encode
from .encoded import Selection
from .hot_values import Planted, plant
from .memory_blobs import MemoryBlobs, gather
from .record import Record


@dataclass(frozen=True, slots=True)
class PlantedBlob(Blob):
    """A blob whose value is on a device; its bytes are made when somebody moves it."""

    planted: Planted | None = None

    @property
    def value(self) -> Planted:
        """The value on its device."""
        assert self.planted is not None
        return self.planted


class HotBlobs(MemoryBlobs):
    """Values by key on the devices of `places` (label to device). Thread-safe.

    `get` is the slow way out: it encodes the value for another tier, which copies it to the host. The
    record that it gives has the codec header and the checksums; the records of `record` and `records`
    know only the bytes on the device.
    """

    keeps_buffers = False  # planting copies

    def __init__(self, places: dict[str, torch.device], precision: torch.dtype | None) -> None:
        super().__init__()
        self.places = places
        self._precision = precision
        self._on: dict[str, int] = dict.fromkeys(places, 0)

    def plant(self, value: Any, record: Record, place: str, *, allow_pickle: bool) -> PlantedBlob:
        """The blob of a value, its tensors copied to a device. Stores nothing yet."""
        planted = plant(
            value, self.places[place], place, precision=self._precision, allow_pickle=allow_pickle
        )
        return _blob(record, planted)

    def adopt(self, blob: Blob, place: str) -> PlantedBlob:
        """The blob of another tier, its value put on a device. Its precision is kept."""
        if isinstance(blob, PlantedBlob):
            return blob
        value = decode(blob.record.header, blob.buffers, allow_pickle=True)
        planted = plant(value, self.places[place], place, precision=None, allow_pickle=True)
        return _blob(blob.record, planted)

    def put(self, blob: Blob) -> None:
        super().put(self.adopt(blob, self.roomiest()))

    def planted(self, key: str) -> PlantedBlob:
        """The value of a key on its device. Raises `KeyNotFound`."""
        held = self._find(key)
        assert isinstance(held, PlantedBlob)
        return held

    def replant(self, key: str, planted: Planted) -> None:
        """Replace the form in which a value is held, not the value."""
        with self._lock:
            old = self.planted(key)
            new = _blob(old.record, planted)
            self._count(old, new)
            self._blobs[key] = new

    def get_part(self, key: str, selection: Selection) -> Blob:
        return part_of(self.get(key), selection)

    def place_of(self, key: str) -> str | None:
        """On which device the value is."""
        held = self._blobs.get(key)
        return held.value.device if isinstance(held, PlantedBlob) else None

    def used_on(self, place: str) -> int:
        """Bytes in use on a device."""
        return self._on[place]

    def roomiest(self) -> str:
        """The device on which least is in use."""
        return min(self.places, key=self._on.__getitem__)

    def _opened(self, held: Blob) -> Blob:
        assert isinstance(held, PlantedBlob)
        value = held.value.on_host().read()
        encoded = encode(value)
        return Blob(
            held.record.replace(
                header=encoded.header,
                lengths=tuple(buffer.nbytes for buffer in encoded.buffers),
                checksums=tuple(checksum(buffer) for buffer in encoded.buffers),
                has_pickle=encoded.has_pickle,
            ),
            encoded.buffers,
        )

    def _held_bytes(self, held: Blob) -> int:
        return held.record.nbytes

    def _count(self, old: Blob | None, new: Blob | None) -> None:
        super()._count(old, new)
        for blob, sign in ((old, -1), (new, 1)):
            if isinstance(blob, PlantedBlob):
                self._on[blob.value.device] += sign * self._held_bytes(blob)


def part_of(whole: Blob, selection: Selection) -> Blob:
    """The selected bytes of a blob."""
    buffers = [
        gather(whole.buffers[source], ranges)
        for source, ranges in zip(selection.sources, selection.ranges, strict=True)
    ]
    return Blob(whole.record, tuple(buffers))


def _blob(record: Record, planted: Planted) -> PlantedBlob:
    held = record.replace(header=b"", lengths=(planted.nbytes,), checksums=(), has_pickle=planted.has_pickle)
    return PlantedBlob(held, planted=planted)
