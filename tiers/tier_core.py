"""`TierCore`: how every tier finds room, keeps its books, and ends. `Tier` is its public face."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Self

from ..errors import Closed, CorruptData, KeyNotFound
from .blobs import Blob, BlobStore
from .budget import Budget
from .capture import Capture
from .eviction import EvictionOrder
from .inventory import Inventory
from .locks import KeyLocks
from .metrics import Counters
from .record import Record, Version
from .validation import check_flag


class TierCore:
    """The machinery under `Tier`; not to be used by itself.

    Lock order, for those who change it: `_room`, then key locks (several in one `hold`), then the short
    locks of the inventory, the counters and the blob store. `expire` takes the lock of one key at a
    time, so it is called before any key lock is held.
    """

    name = "tier"
    """What error messages and metrics call it."""

    inventory_is_local = True
    """Whether `blobs.records()` costs little enough to be read when the tier opens. Where it does not
    (object stores), entries that expired unread may be listed by `keys` until they are touched."""

    def __init__(
        self,
        blobs: BlobStore,
        *,
        capacity_bytes: int | None = None,
        on_full: str = "raise",
        allow_pickle: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._budget = Budget(self.name, capacity_bytes, on_full)
        self._allow_pickle = check_flag("allow_pickle", allow_pickle)
        self._blobs = blobs
        self._clock = clock
        self._counters = Counters()
        self._inventory = Inventory(blobs.records, self._order_of)
        self._key_locks = KeyLocks()
        # Held while a bounded tier decides and stores, so that two newcomers cannot take the same room.
        self._room = threading.RLock() if self._budget.capacity_bytes is not None else nullcontext()
        self._captures: list[Capture] = []  # snapshots that are being made
        self._sequence_lock = threading.Lock()
        self._sequence = 0
        self._closed = False
        if self.inventory_is_local or self._budget.order is not None:
            for record in blobs.records():
                self._sequence = max(self._sequence, record.version.sequence)
                self._noted(record)

    @property
    def capacity_bytes(self) -> int | None:
        """The byte budget; None where there is none."""
        return self._budget.capacity_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes in use on the medium."""
        return self._blobs.used_bytes

    def expire(self) -> int:
        """Free what has reached its end; how many entries there were."""
        now_s = self._clock()
        expiry = self._inventory.expiry
        # Several threads may be at it: what one of them has freed the others pass over.
        ended = (key for key in expiry.ended(now_s) if expiry.expired(key, now_s))
        return self._drop_expired(ended, now_s)

    def close(self) -> None:
        """Release what the tier holds open. Later calls raise `Closed`; closing again is fine."""
        if not self._closed:
            self._closed = True
            self._blobs.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _commit(self, blobs: Sequence[Blob]) -> None:
        """Find room for the blobs, put them in, and then let the victims go."""
        keys = {blob.record.key for blob in blobs}
        with self._room:
            self._commit_in_room(blobs, keys)
        self._counters.add(stores=len(blobs), bytes_in=sum([blob.record.nbytes for blob in blobs]))

    def _commit_in_room(self, blobs: Sequence[Blob], keys: set[str]) -> None:
        if self._budget.capacity_bytes is not None:
            self.expire()  # before the key locks: it takes those of other keys
        with self._room_for(blobs, keys) as victims:
            self._before_change(keys)
            if len(blobs) == 1:
                self._blobs.put(blobs[0])
            else:
                self._blobs.put_many(blobs)
            for blob in blobs:
                self._noted(blob.record)
            self._evict(victims)

    @contextmanager
    def _room_for(self, blobs: Sequence[Blob], keys: set[str]) -> Iterator[list[str]]:
        """Hold the locks of the newcomers and of those who leave for them; who leaves.

        So nobody pins or changes a key that is on its way out. Whoever wants to waits until it has left,
        and those who change other keys wait for nothing.
        """
        locked = set(keys)
        while True:
            with self._key_locks.hold(locked):
                victims = self._find_room(blobs, keys)
                if locked.issuperset(victims):
                    yield victims
                    return
            # Locks are taken in one order, all at once. Others may be chosen by then, so none is let go.
            locked.update(victims)

    def _find_room(self, blobs: Sequence[Blob], keys: set[str]) -> list[str]:
        if self._budget.capacity_bytes is None:
            return []
        # Of several values for one key the last one stays.
        last = {blob.record.key: blob for blob in blobs}
        return self._budget.victims(
            used_bytes=self._blobs.used_bytes,
            incoming_bytes=sum(map(self._incoming_bytes, last.values())),
            released_bytes=sum(map(self._blobs.stored_bytes, keys)),
            priority=min([blob.record.priority for blob in last.values()], default=0.0),
            nbytes_of=self._blobs.stored_bytes,
            exclude=keys,
        )

    def _restoring_budget(self) -> tuple[Budget, int] | None:
        """The budget that restored values come under and what is in use of it; None for several."""
        return self._budget, self._blobs.used_bytes

    def _incoming_bytes(self, blob: Blob) -> int:
        """What the blob will occupy, at most."""
        return blob.record.nbytes

    def _evict(self, victims: Sequence[str]) -> None:
        if victims:
            self._before_change(victims)
            evicted = self._blobs.remove_many(victims)
            for key in victims:
                self._forgotten(key)
            self._counters.add(evictions=evicted)

    def _drop_expired(self, keys: Iterable[str], now_s: float) -> int:
        freed = 0
        for key in keys:
            with self._key_locks.hold([key]):
                freed += self._drop_if_expired(key, now_s)
        if freed:
            self._counters.add(expirations=freed)
        return freed

    def _drop_if_expired(self, key: str, now_s: float) -> bool:
        try:
            record = self._blobs.record(key)
        except CorruptData:
            # Nobody can say when it ends: left to whoever reads it, or every later call would fail here.
            self._inventory.expiry.set(key, None)
            raise
        if record is not None and record.expired(now_s):
            self._before_change([key])
            if self._blobs.remove_found(record):
                self._forgotten(key)
                return True
            record = self._blobs.record(key)
        # Another writer, perhaps in another process, has replaced or removed it since it came due.
        if record is None:
            self._forgotten(key)
        else:
            self._noted(record)
        return False

    def _noted(self, record: Record) -> None:
        """Follow a record that is now the one of its key."""
        self._inventory.note(record)

    def _before_change(self, keys: Collection[str]) -> None:
        """Let snapshots that are being made have what is about to change. Called before every change."""
        for capture in tuple(self._captures):
            capture.before_change(keys)

    def _forgotten(self, key: str) -> None:
        """Follow the departure of a key."""
        self._inventory.forget(key)

    def _order_of(self, key: str) -> EvictionOrder | None:
        return self._budget.order

    def _visible(self, record: Record) -> bool:
        return not (record.is_mark or record.expired(self._clock()))

    def _check_present(self, record: Record) -> None:
        if record.is_mark:
            raise KeyNotFound(f"{record.key!r} is not in {self.name}: it was deleted or replaced elsewhere")
        if record.expired(self._clock()):
            self._drop_expired([record.key], self._clock())
            raise KeyNotFound(f"{record.key!r} is no longer in {self.name}: its time to live has run out")

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self.name} was closed: open it again to use it")

    def _next_version(self, now_s: float) -> Version:
        return self._next_versions(now_s, 1)[0]

    def _next_versions(self, now_s: float, count: int) -> list[Version]:
        # Microseconds, so that versions also grow from one process to the next where the inventory is
        # not read; never backwards, whatever the clock does.
        with self._sequence_lock:
            first = max(self._sequence + 1, int(now_s * 1e6))
            self._sequence = first + count - 1
        return [Version(0, sequence) for sequence in range(first, first + count)]
