"""`BlobStore`: the storage seam. Each tier is a value-level front over one of these.

A blob store keeps bytes and records; it knows nothing of arrays, budgets or time. What every
implementation must hold is written in tests/contract/test_blob_stores.py, which runs over all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import ConflictingWrite, KeyNotFound
from .encoded import Selection
from .record import Record

Buffer = memoryview


@dataclass(frozen=True, slots=True)
class Blob:
    """A record with the buffers of its value (or of a selected part of it)."""

    record: Record
    buffers: tuple[Buffer, ...] = ()


class BlobStore(ABC):
    """Records and their buffers by key.

    Atomic: after a crash or an error at any moment each key has its old blob or its new one. Durable
    stores have the blob on stable storage when `put` returns. `get` verifies checksums unless the store
    guards the bytes in another way, and raises `CorruptData` rather than returning wrong bytes.
    Implementations are thread-safe.
    """

    durable: bool = False
    """Whether a blob survives the loss of the process and of power once `put` has returned."""

    keeps_buffers: bool = True
    """Whether `put` may keep the buffers that it is given. A store that has copied them out by the time
    `put` returns (to a file, to the network) says False, and callers need not copy first."""

    @abstractmethod
    def put(self, blob: Blob) -> None:
        """Store or replace. The buffers may be kept, not only read: callers hand over or copy.

        Raises `StorageFull` (nothing changed) where there is no room.
        """

    def put_many(self, blobs: Sequence[Blob]) -> None:
        """Store several, in fewer operations where the medium allows. Not atomic as a whole: on an
        error some of the keys may have been stored, each whole."""
        for blob in blobs:
            self.put(blob)

    @abstractmethod
    def get(self, key: str) -> Blob:
        """The blob of a key; views of the medium where it allows. Raises `KeyNotFound`, `CorruptData`."""

    def get_many(self, keys: Sequence[str]) -> list[Blob]:
        """Several blobs, in the order of the keys; the first failing key raises."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def get_part(self, key: str, selection: Selection) -> Blob:
        """The selected bytes only, verified, reading not much more than they are."""

    @abstractmethod
    def record(self, key: str) -> Record | None:
        """What is stored under the key, without its buffers; None where there is nothing."""

    def stored_bytes(self, key: str) -> int:
        """Bytes of `used_bytes` that would be free without this key; 0 where there is nothing."""
        record = self.record(key)
        return 0 if record is None else record.nbytes

    @abstractmethod
    def update(self, record: Record) -> None:
        """Replace the record of an existing blob and keep its buffers. Raises `KeyNotFound`."""

    @abstractmethod
    def remove(self, key: str) -> bool:
        """Forget the key; whether there was one. Durable stores have made that stable on return."""

    def remove_many(self, keys: Iterable[str]) -> int:
        """Forget several; how many there were."""
        return sum(self.remove(key) for key in keys)

    def update_found(self, found: Record, record: Record) -> None:
        """`update`, if what is stored is still what was found. Raises `KeyNotFound`, `ConflictingWrite`.

        Whoever calls this keeps others of this process from the key meanwhile; a store that several
        processes write to keeps those away itself.
        """
        current = self.record(found.key)
        if current is None:
            raise KeyNotFound(f"{found.key!r} is not stored here any more")
        if current != found:
            raise ConflictingWrite(f"{found.key!r:.100} was replaced since it was read; try again")
        self.update(record)

    def remove_found(self, found: Record) -> bool:
        """`remove`, if what is stored is still what was found; whether it was. As `update_found`."""
        current = self.record(found.key)
        return current is not None and current == found and self.remove(found.key)

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with the prefix, in no particular order, as of some time during the call."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Every record: the inventory from which a catalog is rebuilt."""

    @abstractmethod
    def __len__(self) -> int:
        """How many keys are stored."""

    @property
    @abstractmethod
    def used_bytes(self) -> int:
        """Bytes that the store occupies on its medium (compressed, with overhead)."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:  # noqa: B027 - nothing to release is a fine default
        """Release locks, files and connections. Calling it twice is fine."""
