"""`TierReading`: what a tier actor answers to readers and to other tier actors, in the way that costs least.

A large value on the reader's own node is not sent at all: the reader is told where it lies, in shared memory
or in a file, and looks for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import CorruptData, KeyNotFound
from ..tiers.blobs import Blob, BlobStore
from ..tiers.checksum import checksum
from ..tiers.cold import ColdBlobs
from ..tiers.encoded import Selection
from ..tiers.record import Record, Version
from .core.model import Kind, Outcome
from .core.tier import TierCore
from .parcel import INLINE_BYTES
from .readings import Reading, Readings, ReadMany, ReadState
from .shared_blobs import SharedBlobs

_NOWHERE = Version()


class TierReading:
    """Belongs to one tier actor. Its methods may run in any thread; they change nothing."""

    def __init__(self, core: TierCore, blobs: BlobStore, node: str) -> None:
        self._core = core
        self._blobs = blobs
        self._node = node

    def read_all(self, request: ReadMany) -> Readings:
        """The values of keys, small ones together, of large ones what leads to them."""
        headers, lengths, ends = [], [], []
        pieces: list[memoryview] = []
        others: dict[int, Reading] = {}
        end = 0
        may_read, incarnation = self._core.may_read, request.incarnation
        versions = request.versions
        if request.is_guess:
            versions = tuple(self._version_at_hand(key, request.node) for key in request.keys)
        for position, (key, version) in enumerate(zip(request.keys, versions, strict=True)):
            record = None
            if not may_read(key, version, incarnation):
                others[position] = Reading(ReadState.GONE)
            else:
                found = self._reading(key, version, request.node)
                if isinstance(found, Reading):
                    others[position] = found
                else:
                    record = found.record
                    pieces += found.buffers
                    end += sum(record.lengths)
            headers.append(b"" if record is None else record.header)
            lengths.append(() if record is None else record.lengths)
            ends.append(end)
        joined = b"".join(pieces)
        slab = np.frombuffer(joined, np.uint8) if end >= INLINE_BYTES else joined
        answered: tuple[Version, ...] = ()
        if request.is_guess:
            bad = {position for position, reading in others.items() if reading.state is not ReadState.OK}
            answered = tuple(_NOWHERE if i in bad else version for i, version in enumerate(versions))
        return Readings(tuple(headers), tuple(lengths), tuple(ends), slab, others, answered)

    def _version_at_hand(self, key: str, node: str) -> Version:
        """In which version the value is here, if that can be answered without work: a reader who guesses
        may have been wrong."""
        slot = self._core.slots.get(key)
        if slot is None or slot.kind is not Kind.VALUE:
            return _NOWHERE
        blobs = self._blobs
        if isinstance(blobs, ColdBlobs):
            at_hand = node == self._node and slot.nbytes >= INLINE_BYTES and blobs.file_of(key) is not None
        else:
            # No references: one in an answer that nobody looks at may keep bytes that no budget counts.
            at_hand = not blobs.durable and slot.nbytes < INLINE_BYTES
        return slot.version if at_hand else _NOWHERE

    def _ref(self, key: str, version: Version, node: str) -> Any:
        """What leads a reader on this node to a value in shared memory."""
        if node == self._node and isinstance(self._blobs, SharedBlobs):
            return self._blobs.ref(key, version)
        return None

    def _reading(self, key: str, version: Version, node: str) -> Blob | Reading:
        """A small value itself; of a large one what leads to it; or why there is none."""
        if node == self._node and isinstance(self._blobs, ColdBlobs):
            found = self._blobs.file_of(key)
            if found is not None and found[0].nbytes >= INLINE_BYTES:
                record, path = found
                if record.version != version:
                    return Reading(ReadState.GONE)
                return Reading(ReadState.OK, version, record.header, record.lengths, path=str(path))
        try:
            blob = self._blobs.get(key)
        except KeyNotFound:
            return Reading(ReadState.GONE)
        except CorruptData as error:
            return Reading(ReadState.CORRUPT, message=str(error))
        record = blob.record
        if record.version != version:
            return Reading(ReadState.GONE)
        if record.nbytes < INLINE_BYTES:
            return blob
        ref = self._ref(key, version, node)
        arrays = None if ref is not None else tuple(arrays_of(blob.buffers))
        return Reading(ReadState.OK, version, record.header, record.lengths, ref=ref, arrays=arrays)

    def whole_record(self, incarnation: int, key: str, version: Version) -> Record | None:
        """The record with its codec header, which a device tier makes only when it is asked for bytes."""
        if not self._core.may_read(key, version, incarnation):
            return None
        record = self._blobs.record(key)
        return record if record is None or record.header else self._blobs.get(key).record

    def read_part(self, incarnation: int, key: str, version: Version, selection: Selection) -> Reading:
        """Some bytes of one value."""
        if not self._core.may_read(key, version, incarnation):
            return Reading(ReadState.GONE)
        try:
            blob = self._blobs.get_part(key, selection)
        except KeyNotFound:
            return Reading(ReadState.GONE)
        except CorruptData as error:
            return Reading(ReadState.CORRUPT, message=str(error))
        if blob.record.version != version:
            return Reading(ReadState.GONE)
        lengths = tuple(buffer.nbytes for buffer in blob.buffers)
        return Reading(
            ReadState.OK, version, selection.header, lengths, arrays=tuple(arrays_of(blob.buffers))
        )

    def hand_over(self, incarnation: int, keys: Sequence[str], versions: Sequence[Version]) -> list[Any]:
        """Values for another tier actor: slot, record and bytes of each, or why not.

        To whoever means an earlier life nothing is said of the keys: that life may have had them, and what
        is missing now would be taken for lost.
        """
        if incarnation != self._core.info.incarnation:
            return [Outcome.UNAVAILABLE] * len(keys)
        handed: list[Any] = []
        for key, version in zip(keys, versions, strict=True):
            slot = self._core.slots.get(key)
            if slot is None or not self._core.may_read(key, Version(*version), incarnation):
                handed.append(Outcome.MISSING)
                continue
            try:
                blob = self._blobs.get(key)
            except KeyNotFound:
                handed.append(Outcome.MISSING)
            except CorruptData:
                handed.append(Outcome.CORRUPT)
            else:
                record = blob.record
                if not record.checksums:
                    record = record.replace(checksums=tuple(checksum(b) for b in blob.buffers))
                handed.append((slot, record, arrays_of(blob.buffers)))
        return handed


def arrays_of(buffers: Sequence[memoryview]) -> list[Any]:
    """Byte arrays over the buffers: what Ray moves without pickling the bytes."""
    return [np.frombuffer(buffer, np.uint8) for buffer in buffers]
