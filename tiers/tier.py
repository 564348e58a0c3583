"""`Tier`: named values over a `BlobStore`. Hot, warm, cold and glacier memory are subclasses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ..errors import InvalidType, InvalidValue, KeyNotFound, PickleRefused
from .blobs import Blob
from .checksum import checksum
from .codec import decode, encode, rows_of, select_indices, select_rows
from .encoded import Selection
from .items import MISSING, Item, one_value, read_items
from .memory_blobs import owned
from .metrics import tier_metrics
from .query.sorting import Sort
from .record import Record
from .tier_core import TierCore
from .validation import (
    check_flag,
    check_key,
    check_keys,
    check_metadata,
    check_prefix,
    check_priority,
)

if TYPE_CHECKING:
    from .snapshots import SnapshotInfo
    from .snapshots.writer import ByteSink


class Tier(TierCore):
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

    # Reading -----------------------------------------------------------------------------------------

    def retrieve(
        self,
        key: str,
        *,
        partial: bool = False,
        start: int | None = None,
        end: int | None = None,
        rows: Sequence[int] | None = None,
        copy: bool = False,
    ) -> Any:
        """The value of a key, or some of its rows: from `start` up to `end` as in slicing, or `rows` by
        number; `partial` only says so (seed style) and may be left out.

        Arrays may be read-only views of what is stored; with ``copy=True`` they belong to the caller and
        can be written to. Raises `KeyNotFound` (a KeyError) for an absent or expired key, `CorruptData`
        rather than a wrong value, and `InvalidType` where the value has no rows.
        """
        check_key(key)
        check_flag("partial", partial)
        check_flag("copy", copy)
        if rows is not None and (start is not None or end is not None):
            raise InvalidValue("rows and start/end both choose rows: give one of them")
        self._check_open()
        try:
            if rows is None and start is None and end is None:
                record, value = self._read(key, copy)
            else:
                record, value = self._read_part(key, start, end, rows, copy)
        except KeyNotFound:
            self._counters.add(misses=1)
            raise
        self._used(record)
        return value

    def retrieve_many(
        self, keys: Iterable[str], *, missing: str = "raise", copy: bool = False
    ) -> dict[str, Any]:
        """Several values by key. Absent keys raise `KeyNotFound`, or are left out with
        ``missing="skip"``."""
        if missing not in ("raise", "skip"):
            raise InvalidValue(f'missing must be "raise" or "skip", not {missing!r}')
        wanted = list(dict.fromkeys(check_keys(keys)))
        self._check_open()
        asked = len(wanted)
        while True:
            if missing == "skip":
                wanted = [key for key in wanted if self.exists(key)]
            try:
                read = self._read_many(wanted, copy)
                break
            except KeyNotFound:
                # Where absent keys are left out, one was deleted since the look: look again.
                if missing == "raise":
                    self._counters.add(misses=1)
                    raise
        self._counters.add(misses=asked - len(wanted))
        for record, _ in read:
            self._used(record)
        return {key: value for key, (_, value) in zip(wanted, read, strict=True)}

    def get_blob(self, key: str) -> Blob:
        """The blob of a key as it is: for moving it to another tier or into a snapshot."""
        check_key(key)
        self._check_open()
        blob = self._blobs.get(key)
        self._check_present(blob.record)
        return blob

    def _read(self, key: str, copy: bool) -> tuple[Record, Any]:
        blob = self._blobs.get(key)
        self._check_present(blob.record)
        return blob.record, self._decode(blob.record.header, blob, copy)

    def _read_many(self, keys: Sequence[str], copy: bool) -> list[tuple[Record, Any]]:
        read = []
        for blob in self._blobs.get_many(keys):
            self._check_present(blob.record)
            read.append((blob.record, self._decode(blob.record.header, blob, copy)))
        return read

    def _read_part(
        self, key: str, start: int | None, end: int | None, rows: Sequence[int] | None, copy: bool
    ) -> tuple[Record, Any]:
        while True:
            record = self.entry(key)
            try:
                selection = self._select(record, start, end, rows)
            except InvalidType:
                # Where the rows of texts, lists and frames lie is known to the value only.
                record, value = self._read(key, copy)
                return record, rows_of(value, start, end, rows)
            part = self._blobs.get_part(key, selection)
            # A writer may have replaced the value between the two reads; then the ranges are not its own.
            if part.record.version == record.version:
                return record, self._decode(selection.header, part, copy)

    def _select(
        self, record: Record, start: int | None, end: int | None, rows: Sequence[int] | None
    ) -> Selection:
        if rows is not None:
            return select_indices(record.header, rows)
        return select_rows(record.header, start, end)

    def _decode(self, header: bytes, blob: Blob, copy: bool) -> Any:
        return decode(header, blob.buffers, allow_pickle=self._allow_pickle, writable=copy)

    def _used(self, record: Record) -> None:
        self._counters.add(hits=1, bytes_out=record.nbytes)
        self._inventory.touch(record.key)

    # What is stored ----------------------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Whether the key can be read."""
        check_key(key)
        self._check_open()
        record = self._blobs.record(key)
        return record is not None and self._visible(record)

    def entry(self, key: str) -> Record:
        """What is stored under the key, without the value. Raises `KeyNotFound`."""
        check_key(key)
        self._check_open()
        record = self._blobs.record(key)
        if record is None:
            raise KeyNotFound(f"{key!r} is not in {self.name}")
        self._check_present(record)
        return record

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with the prefix, in no particular order."""
        check_prefix(prefix)
        self._check_open()
        now_s = self._clock()
        return (
            key
            for key in self._blobs.keys(prefix)
            if key not in self._inventory.hidden and not self._inventory.expiry.expired(key, now_s)
        )

    def records(self) -> Iterator[Record]:
        """Every entry that can be read."""
        self._check_open()
        return (record for record in self._blobs.records() if self._visible(record))

    def query(
        self,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        sort: Sort | None = None,
        limit: int | None = None,
        skip: int = 0,
    ) -> list[str]:
        """The keys whose metadata passes a filter in the manner of MongoDB (see `tiers.query.filters`),
        sorted and cut as asked. The first query builds an index of all records; later ones are quick.

        Raises `InvalidType` or `InvalidValue` for a filter that cannot be.
        """
        self._check_open()
        self.expire()
        return self._inventory.query(metadata_filter, sort=sort, limit=limit, skip=skip)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(key) and self.exists(key)

    def __len__(self) -> int:
        self._check_open()
        self.expire()
        return max(0, len(self._blobs) - len(self._inventory.hidden))

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
            record = self.entry(key).replace(version=self._next_version(self._clock()), **changes)
            self._before_change([key])
            self._blobs.update(record)
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
