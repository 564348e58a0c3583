"""`WarmMemory`: the tier in RAM, with pools."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CapacityExceeded, InvalidType, InvalidValue
from .blobs import Blob
from .budget import Budget
from .divided import DividedTier
from .eviction import EvictionOrder
from .items import MISSING, Item, one_value
from .machine import clamp_budget, ram_bytes
from .metrics import usage_percent
from .record import Record
from .serialization import FORMATS
from .validation import check_choice, check_flag, check_size_gb
from .warm import COMPRESSIONS, SealedBlob, SharedHandle, WarmBlobs

MB = 10**6


@dataclass(frozen=True, slots=True)
class _Pool:
    budget: Budget
    capacity_bytes: int


class WarmMemory(DividedTier):
    """Values in RAM: as they are, or as documents, or compressed, or where other processes can open them.

    `size_gb` is the budget (a ceiling, clamped to the machine's memory with a warning; nothing is
    allocated ahead). `serialization_format` is None for the library's own encoding, which copies each
    array once and reads it back as a read-only view, or "pickle", "msgpack" or "json" for a document
    that other tools read (see `document`). `compression` is "none", "lz4" or "zstd". With
    ``shared_memory=True`` the bytes lie in POSIX shared memory: `share` gives a handle that another
    process of this machine opens without a copy.

    Nothing survives the process. Thread-safe; see `Tier` for the rest of the contract.

    Examples:
        >>> from memories.core import WarmMemory
        >>> with WarmMemory(size_gb=0.1, compression="lz4") as warm:
        ...     _ = warm.store("table", {"ids": [1, 2, 3]}, metadata={"day": "monday"}, ttl=60)
        ...     warm.query({"day": "monday"})
        ['table']
    """

    name = "warm memory"

    def __init__(
        self,
        size_gb: float = 8,
        *,
        serialization_format: str | None = None,
        compression: str | None = "none",
        shared_memory: bool = False,
        on_full: str = "raise",
        allow_pickle: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if serialization_format is not None:
            check_choice("serialization_format", serialization_format, FORMATS)
        self.serialization_format = serialization_format
        self.compression = check_choice("compression", compression or "none", COMPRESSIONS)
        self.shared_memory = check_flag("shared_memory", shared_memory)
        self._pools: dict[str, _Pool] = {}
        self._warm = WarmBlobs(
            document=serialization_format, compression=self.compression, shared=shared_memory
        )
        super().__init__(
            self._warm,
            capacity_bytes=clamp_budget(self.name, check_size_gb("size_gb", size_gb), ram_bytes()),
            on_full=on_full,
            allow_pickle=allow_pickle,
            clock=clock,
        )

    # Pools -----------------------------------------------------------------------------------------

    def allocate_pool(self, name: str, size_mb: float) -> None:
        """Set room aside for values that are stored with ``pool=name``: nothing else can take it, and
        they cannot take more. Allocating a pool again resizes it.

        Raises `CapacityExceeded` where the room is not free (or the pool holds more than its new size).
        """
        if not isinstance(name, str) or not name:
            raise InvalidType(f"a pool needs a name, not {name!r:.60}")
        size_bytes = check_size_gb("size_mb", _number(size_mb) / 1000)
        with self._room:
            self.expire()
            capacity_bytes = self._capacity()
            others = sum(pool.capacity_bytes for other, pool in self._pools.items() if other != name)
            general_bytes = self._warm.pool_usage(None)[0]
            free_bytes = capacity_bytes - others - general_bytes
            if size_bytes > free_bytes:
                raise CapacityExceeded(
                    f"a pool of {size_bytes:,} bytes does not fit: {capacity_bytes:,} bytes in all, "
                    f"{others:,} in other pools, {general_bytes:,} in use outside of them"
                )
            used_bytes = self._warm.pool_usage(name)[0]
            if used_bytes > size_bytes:
                raise CapacityExceeded(
                    f"pool {name!r} holds {used_bytes:,} bytes, more than its new size of {size_bytes:,}"
                )
            pool = _Pool(Budget(f"pool {name!r}", size_bytes, self._budget.on_full), size_bytes)
            old = self._pools.get(name)
            if old is not None:
                pool.budget.order = old.budget.order
            self._pools[name] = pool

    def free_pool(self, name: str) -> None:
        """Give a pool's room back. Its values stay, and count outside of pools from now on."""
        with self._room:
            self._check_pool(name)
            del self._pools[name]
            members = [record for record in self._warm.records() if self._warm.pool_of(record.key) == name]
            self._warm.leave_pool(name)
            for record in members:
                with self._key_locks.hold([record.key]):
                    current = self._warm.record(record.key)
                    if current is not None:
                        self._noted(current)

    # Storing ---------------------------------------------------------------------------------------

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
        pool: str | None = None,
    ) -> Record:
        """As `Tier.store`; with `pool` the value takes the room of that pool, and on eviction only values
        of the same pool leave for it."""
        self._check_pool(pool)
        item = Item(key, one_value(value, data), metadata, priority, ttl, pin)
        sealed = [self._warm.seal(blob, pool) for blob in self._blobs_of([item])]
        self._commit(sealed)
        return sealed[0].record

    def share(self, key: str) -> SharedHandle:
        """A small picklable handle with which another process opens the value in place. Raises
        `InvalidValue` where the tier was opened without ``shared_memory=True``."""
        self.entry(key)
        return self._warm.handle(key)

    def document(self, key: str) -> bytes:
        """The pickle, msgpack or JSON document of a value. Raises `InvalidValue` without a
        `serialization_format`."""
        self.entry(key)
        return self._warm.document(key)

    def get_metrics(self) -> dict[str, Any]:
        """As `Tier.get_metrics`, with `pools` (by name: the same usage numbers, and `entries`), and
        `raw_bytes`, what the values are before compression."""
        metrics = super().get_metrics()
        pools = {}
        for name, pool in list(self._pools.items()):
            used_bytes, entries = self._warm.pool_usage(name)
            pools[name] = {
                "usage_percent": usage_percent(used_bytes, pool.capacity_bytes),
                "used_bytes": used_bytes,
                "capacity_bytes": pool.capacity_bytes,
                "entries": entries,
            }
        metrics["pools"] = pools
        metrics["raw_bytes"] = sum(record.nbytes for record in self._warm.records())
        return metrics

    # How the base class finds room -----------------------------------------------------------------

    def _commit(self, blobs: Sequence[Blob]) -> None:
        # Sealing copies and compresses: before any lock is taken.
        super()._commit([self._warm.seal(blob) for blob in blobs])

    def _incoming_bytes(self, blob: Blob) -> int:
        return self._warm.seal(blob).held_bytes

    def _find_room(self, blobs: Sequence[Blob], keys: set[str]) -> list[str]:
        last = {blob.record.key: blob for blob in blobs if isinstance(blob, SealedBlob)}
        victims: list[str] = []
        for pool in {blob.pool for blob in last.values()}:
            members = [blob for blob in last.values() if blob.pool == pool]
            self._check_pool(pool)
            victims += self._budget_of(pool).victims(
                used_bytes=self._warm.pool_usage(pool)[0],
                incoming_bytes=sum(blob.held_bytes for blob in members),
                released_bytes=sum(
                    self._warm.stored_bytes(key) for key in keys if self._warm.pool_of(key) == pool
                ),
                priority=min(blob.record.priority for blob in members),
                nbytes_of=self._warm.stored_bytes,
                exclude=keys,
            )
        return victims

    def _restoring_budget(self) -> tuple[Budget, int] | None:
        return self._budget_of(None), self._warm.pool_usage(None)[0]

    def _budget_of(self, pool: str | None) -> Budget:
        if pool is not None:
            return self._pools[pool].budget
        reserved = sum(other.capacity_bytes for other in self._pools.values())
        if not reserved:
            return self._budget
        general = Budget(f"{self.name} (outside of its pools)", max(1, self._capacity() - reserved), "raise")
        general.order = self._budget.order
        return general

    def _orders(self) -> Iterable[EvictionOrder | None]:
        return (self._budget.order, *(pool.budget.order for pool in list(self._pools.values())))

    def _order_of(self, key: str) -> EvictionOrder | None:
        pool = self._pools.get(self._warm.pool_of(key) or "")
        return self._budget.order if pool is None else pool.budget.order

    def _check_pool(self, pool: str | None) -> None:
        if pool is not None and pool not in self._pools:
            raise InvalidValue(f"there is no pool {pool!r:.60}: allocate_pool(name, size_mb) makes one")

    def _capacity(self) -> int:
        assert self._budget.capacity_bytes is not None  # a warm tier always has a size
        return self._budget.capacity_bytes


def _number(size_mb: object) -> float:
    if isinstance(size_mb, bool) or not isinstance(size_mb, int | float):
        raise InvalidType(f"size_mb must be a number of MB, not {type(size_mb).__name__}")
    return float(size_mb)
