"""`Tier`: named values over a `BlobStore`. Hot, warm, cold and glacier memory are subclasses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ..errors import ConflictingWrite, PickleRefused
from .blobs import Blob
from .checksum import checksum
from .codec import encode
from .items import MISSING, Item, one_value, read_items
from .memory_blobs import owned
from .metrics import tier_metrics
from .record import Record
from .tier_reading import ReadableTier
from .validation import (
    check_key,
    check_keys,
    check_metadata,
    check_prefix,
    check_priority,
)

if TYPE_CHECKING:
    from .snapshots import SnapshotInfo
    from .snapshots.writer import ByteSink

_CHANGE_TRIES = 4
"""How often the record of a key is read and changed while other processes replace it in between."""


class Tier(ReadableTier):
    """Arrays, tensors, tables and objects by name, with a byte budget, expiry, priorities and pins.

    **Contract.** What was stored comes back as it was, however the caller changes its arrays afterwards.
    `store` returns when the value can be read by everybody who uses this tier (and is durable, where the
    tier is). A call that raises has changed nothing, except that `store_many` may have stored some of
    its values, each whole, when the medium failed half-way.

    **Budget.** `capacity_bytes` is a ceiling on what the tier holds. A value that does not fit raises
    `CapacityExceeded`, or, with ``on_full="evict"``, makes others leave: lowest priority first, then
    least recently used, never pinned ones and never those of a higher priority than the newcomer. The
    newcomer is in place before the others leave, so that a failure loses nothing.

    **Time.** A value with `ttl` is absent once `clock()` has reached its end; its bytes are freed on the
    next access, when room is needed, or by `expire`.

    **Threads.** All methods may be called from any thread. Writes to one key are ordered; reads see the
    old value or the new one.
    """

    # Storing -----------------------------------------------------------------------------------------

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
    ) -> Record:
        """Keep a value under a name, replacing what was there; `data` is another word for `value`.

        `ttl` is in seconds. Raises `InvalidKey`, `InvalidValue`, `InvalidType` for arguments that cannot
        be, `PickleRefused` for a value that only pickle can hold where `allow_pickle=False`, and
        `CapacityExceeded`.
        """
        item = Item(key, one_value(value, data), metadata, priority, ttl, pin)
        return self._store_items([item])[0]

    def store_many(self, items: Mapping[str, Any] | Iterable[Any]) -> list[Record]:
        """Store several values at once: a mapping, or pairs ``(key, value)``, or mappings with the
        arguments of `store` (``{"key": ..., "value": ..., "metadata": ...}``).

        Where the medium allows, in far fewer operations than as many calls of `store`. Everything is
        checked, and room is found for all, before anything is stored.
        """
        return self._store_items(read_items(items))

    def put_blob(self, blob: Blob) -> None:
        """Take over a blob from another tier or a snapshot, record and all, without decoding it.

        Its buffers must not change afterwards. Raises `CapacityExceeded`, and `PickleRefused` for a
        pickled value where `allow_pickle=False`.
        """
        self._check_open()
        check_key(blob.record.key)
        if blob.record.has_pickle and not self._allow_pickle:
            raise PickleRefused(
                f"{blob.record.key!r} holds a pickle and {self.name} was opened with allow_pickle=False"
            )
        self._commit([blob])

    def _store_items(self, items: Sequence[Item]) -> list[Record]:
        blobs = self._blobs_of(items)
        self._commit(blobs)
        return [blob.record for blob in blobs]

    def _blobs_of(
        self, items: Sequence[Item], prepare: Callable[[Item, Record], Blob] | None = None
    ) -> list[Blob]:
        self._check_open()
        now_s = self._clock()
        checked = [item.checked() for item in items]
        prepare = prepare or self._prepare
        return [prepare(item, self._record(item, now_s)) for item in checked]

    def _record(self, item: Item, now_s: float) -> Record:
        return Record(
            key=item.key,
            version=self._next_version(now_s),
            created_s=now_s,
            metadata=item.metadata or {},
            priority=item.priority,
            expires_s=None if item.ttl is None else now_s + item.ttl,
            pinned=item.pin,
        )

    def _prepare(self, item: Item, record: Record) -> Blob:
        """The blob of a checked item, its bytes no longer shared with the caller where they are kept."""
        encoded = encode(item.value, allow_pickle=self._allow_pickle)
        buffers = encoded.buffers
        if self._blobs.keeps_buffers:
            buffers = tuple(owned(buffer) for buffer in buffers)
        return Blob(
            record.replace(
                header=encoded.header,
                lengths=tuple(buffer.nbytes for buffer in buffers),
                checksums=tuple(checksum(buffer) for buffer in buffers),
                has_pickle=encoded.has_pickle,
            ),
            buffers,
        )

    # Changing entries --------------------------------------------------------------------------------

    def delete(self, key: str) -> bool:
        """Forget a key; whether there was one to be read."""
        return self.delete_many([key]) == 1

    def delete_many(self, keys: Iterable[str]) -> int:
        """Forget several keys; how many there were to be read."""
        wanted = list(dict.fromkeys(check_keys(keys)))
        self._check_open()
        self.expire()
        with self._key_locks.hold(wanted):
            self._before_change(wanted)
            hidden = sum(key in self._inventory.hidden for key in wanted)
            removed = max(0, self._blobs.remove_many(wanted) - hidden)
            for key in wanted:
                self._forgotten(key)
        self._counters.add(deletes=removed)
        return removed

    def pin(self, key: str) -> Record:
        """Keep the key whatever the pressure. Raises `KeyNotFound`."""
        return self._change(key, pinned=True)

    def unpin(self, key: str) -> Record:
        """Let the key be evicted again. Raises `KeyNotFound`."""
        return self._change(key, pinned=False)

    def set_metadata(self, key: str, metadata: Mapping[str, Any]) -> Record:
        """Replace the metadata of a key. Raises `KeyNotFound`."""
        return self._change(key, metadata=check_metadata(metadata))

    def set_priority(self, key: str, priority: float) -> Record:
        """Change the priority of a key. Raises `KeyNotFound`."""
        return self._change(key, priority=check_priority(priority))

    def clear(self) -> None:
        """Forget everything, pinned keys included."""
        self._check_open()
        with self._room, self._key_locks.hold_all():
            removed = len(self)
            if self._captures:
                self._before_change(list(self._blobs.keys()))
            self._blobs.clear()
            self._inventory.clear(self._budget.order)
        self._counters.add(deletes=removed)

    def _change(self, key: str, **changes: Any) -> Record:
        check_key(key)
        self._check_open()
        with self._key_locks.hold([key]):
            for tries_left in reversed(range(_CHANGE_TRIES)):
                found = self.entry(key)
                record = found.replace(version=self._next_version(self._clock()), **changes)
                self._before_change([key])
                try:
                    self._blobs.update_found(found, record)
                    break
                except ConflictingWrite:  # another process replaced it: the change is for the new value too
                    if not tries_left:
                        raise
            self._noted(record)
        return record

    # Snapshots -------------------------------------------------------------------------------------

    def create_snapshot(
        self, target: str | os.PathLike[str] | ByteSink, *, description: str = "", prefix: str = ""
    ) -> SnapshotInfo:
        """Write every value (whose key starts with `prefix`), as of the moment of the call, to one file.

        The tier goes on working meanwhile: a writer who changes a value that is not in the file yet
        first writes the old one there. A path has the whole file or keeps what it had; a file-like
        object (such as an upload) is written to and left open. Memory is bounded by the largest value.
        """
        from .tier_snapshots import create_snapshot

        return create_snapshot(self, target, description=description, prefix=check_prefix(prefix))

    def restore_snapshot(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        *,
        keys: Iterable[str] | None = None,
        allow_pickle: bool = False,
    ) -> list[str]:
        """Put the values of a snapshot (or those of `keys`) back, replacing what is there under their
        keys and leaving other keys alone; the keys that were restored. Values whose time to live has run
        out stay away.

        Everything is verified first: raises `CorruptData`, `KeyNotFound`, `CapacityExceeded`, and
        `PickleRefused` for pickles without ``allow_pickle=True``, and has then changed nothing.
        """
        from .tier_snapshots import restore_snapshot

        return restore_snapshot(
            self, source, keys=None if keys is None else check_keys(keys), allow_pickle=allow_pickle
        )

    # Measures ----------------------------------------------------------------------------------------

    def get_metrics(self) -> dict[str, Any]:
        """Usage (``usage_percent``, ``used_bytes``, ``capacity_bytes``, ``entries``), and what was done
        since the tier was opened: ``hits``, ``misses``, ``hit_rate`` (0 to 1), ``stores``, ``deletes``,
        ``evictions``, ``expirations``, ``bytes_in``, ``bytes_out``."""
        entries = len(self)
        return tier_metrics(
            self._counters,
            used_bytes=self._blobs.used_bytes,
            capacity_bytes=self._budget.capacity_bytes,
            entries=entries,
        )
