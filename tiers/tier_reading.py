"""`ReadableTier`: the reading half of `Tier`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from ..errors import InvalidType, InvalidValue, KeyNotFound
from .blobs import Blob
from .codec import decode, rows_of, select_indices, select_rows
from .codec.selecting import check_bound, check_indices
from .encoded import Selection
from .query.sorting import Sort
from .record import Record
from .tier_core import TierCore
from .validation import check_flag, check_key, check_keys, check_prefix


class ReadableTier(TierCore):
    """What can be asked of a tier; not to be used by itself: see `Tier`."""

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
        rather than a wrong value, `InvalidType` where the value has no rows or `start`, `end` or `rows` are
        no whole numbers, and `InvalidValue` for rows that it does not have.
        """
        check_key(key)
        check_flag("partial", partial)
        check_flag("copy", copy)
        if rows is not None and (start is not None or end is not None):
            raise InvalidValue("rows and start/end both choose rows: give one of them")
        first, last = check_bound("start", start), check_bound("end", end)
        numbers = None if rows is None else cast(Sequence[int], check_indices(rows))
        self._check_open()
        try:
            if numbers is None and first is None and last is None:
                record, value = self._read(key, copy)
            else:
                record, value = self._read_part(key, first, last, numbers, copy)
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
        self._inventory.build_index()  # first: where no inventory was read, it finds what has ended
        self.expire()
        return self._inventory.query(metadata_filter, sort=sort, limit=limit, skip=skip)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(key) and self.exists(key)

    def __len__(self) -> int:
        self._check_open()
        self.expire()
        return max(0, len(self._blobs) - len(self._inventory.hidden))
