"""`MemoryManager`: named values on a cluster of tier actors. What driver scripts use."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import Closed, InvalidType, InvalidValue
from ..tiers.analytics import AnalyticsReport
from ..tiers.codec import encode
from ..tiers.record import Version
from ..tiers.validation import check_key, check_keys, check_metadata, check_priority
from .client import MemoryClient, Receipt
from .cluster_snapshots import ClusterSnapshots, SnapshotFile, snapshot_folder, snapshot_path
from .core.model import TIER_ORDER, Outcome
from .memory_reports import MemoryReports
from .outcomes import error_of
from .private_cluster import open_private, private_config
from .reader import checked_part
from .store_options import StoreDefaults, check_tier
from .subscription import Event, Subscription

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..tiers.policies import MigrationPolicy
    from .aio import AsyncMemory
    from .cluster import Cluster

INTERNAL_PREFIX = "\x00"
"""Keys that begin so are ours (chunks, states of networks), and are not listed."""

_MISSING: Any = object()


class MemoryManager:
    """Arrays, tensors, tables and objects by name, in four tiers that move them by themselves.

    Without arguments it is private: it starts a Ray of its own where this process has none, and leaves
    nothing behind after `cleanup`. With ``name=`` its durable data is there again at the next start.
    `memories.connect().memory()` gives one that several drivers share.

    Sizes are in GB of 10^9 bytes, are ceilings (nothing is allocated ahead), and are clamped to what the
    machine has. Thread-safe. Not for use in a forked child.

    Examples:
        >>> from memories import MemoryManager
        >>> with MemoryManager(hot_memory_size=0.1, warm_memory_size=0.1, cold_memory_size=0.1) as memory:
        ...     _ = memory.store("numbers", [1, 2, 3], metadata={"kind": "list"}, durable=True)
        ...     memory.retrieve("numbers"), memory.query({"kind": "list"})
        ([1, 2, 3], ['numbers'])
    """

    def __init__(
        self,
        hot_memory_size: float | None = None,
        warm_memory_size: float | None = None,
        cold_memory_size: float | None = None,
        glacier_memory_enabled: bool = False,
        *,
        glacier_enabled: bool = False,
        glacier: Mapping[str, Any] | None = None,
        migration_policy: MigrationPolicy | None = None,
        name: str | None = None,
        storage_path: str | Path | None = None,
        cluster: Cluster | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        sizes = {"hot": hot_memory_size, "warm": warm_memory_size, "cold": cold_memory_size}
        self._private = cluster is None
        self._storage_path = None if storage_path is None else Path(storage_path)
        self._keeps_data = name is not None or storage_path is not None
        self._closed = self._ended = False
        self._subscriptions: list[Subscription] = []
        self._aio: AsyncMemory | None = None
        if cluster is None:
            config = private_config(
                sizes,
                glacier_memory_enabled or glacier_enabled,
                glacier,
                migration_policy,
                self._storage_path,
                name,
            )
            cluster = open_private(name, config, timeout_s)
        elif any(size is not None for size in sizes.values()) or migration_policy or glacier:
            raise InvalidValue("sizes and policies of a shared cluster are given to connect(config=...)")
        self._cluster = cluster
        self._client: MemoryClient = cluster.client(timeout_s=timeout_s)
        self._defaults = StoreDefaults(self._client.node)
        self._reports = MemoryReports(cluster, self._client)
        self._snapshots = ClusterSnapshots(self._client, snapshot_folder(cluster.name))

    # -- storing --------------------------------------------------------------------------------------

    def store(
        self,
        key: str,
        value: Any = _MISSING,
        *,
        data: Any = _MISSING,
        tier: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        priority: float = 0,
        ttl: float | None = None,
        pin: bool = False,
        replicas: int | None = None,
        durable: bool = False,
        allow_degraded: bool = False,
        timeout_s: float | None = None,
    ) -> Receipt:
        """Keep a value under a name, replacing what was there. `data` is another word for `value`.

        Returns when the copies that were asked for exist: `replicas` on as many distinct nodes, and with
        ``durable=True`` one on stable storage. Raises `CapacityExceeded`, `NotEnoughNodes` (unless
        ``allow_degraded=True``), `DeadlineExceeded`; then nothing was changed, or, for the last, it is
        not known whether it was.
        """
        if (value is _MISSING) == (data is _MISSING):
            raise InvalidType("store() takes one value: store(key, value) or store(key, data=value)")
        value = data if value is _MISSING else value
        self._check_open()
        options = self._defaults.options(tier, priority, ttl, pin, replicas, durable, allow_degraded)
        check_key(key)
        checked = check_metadata(metadata)
        return self._client.store_many([key], [encode(value)], [checked], options, timeout_s)

    def store_many(
        self,
        values: Mapping[str, Any] | Iterable[tuple[str, Any]],
        *,
        tier: str | None = None,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        priority: float = 0,
        ttl: float | None = None,
        pin: bool = False,
        replicas: int | None = None,
        durable: bool = False,
        allow_degraded: bool = False,
        timeout_s: float | None = None,
    ) -> Receipt:
        """Store several values in one request. `metadata` is by key. Not atomic as a whole: each value is."""
        items = dict(values)
        self._check_open()
        options = self._defaults.options(tier, priority, ttl, pin, replicas, durable, allow_degraded)
        keys = check_keys(items)
        known = metadata or {}
        data = [check_metadata(known.get(key)) for key in keys]
        if not keys:
            return Receipt(Version(), options.replicas, durable)
        return self._client.store_many(keys, [encode(v) for v in items.values()], data, options, timeout_s)

    # -- reading ----------------------------------------------------------------------------------------

    def retrieve(
        self,
        key: str,
        *,
        partial: bool = False,
        start: int | None = None,
        end: int | None = None,
        rows: Sequence[int] | None = None,
        copy: bool = False,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The value of a key, or some of its rows: from `start` up to `end`, or `rows` by their numbers.

        Arrays are read-only views of shared memory where that is possible; ``copy=True`` makes them the
        caller's own.

        With `max_staleness_s` a small value may come from this process's own memory, if it was current at
        most so long ago; what this process itself wrote is always seen.

        Raises `KeyNotFound` (a KeyError), `ValueLost` where every copy is gone, `DeadlineExceeded`,
        `InvalidType` for rows of what has none, and `InvalidValue` for rows that are not there.
        """
        check_key(key)
        self._check_open()
        if rows is not None and (start is not None or end is not None):
            raise InvalidValue("rows and start/end both choose rows: give one of them")
        whole = not partial and rows is None and start is None and end is None
        part = None if whole else checked_part(start, end, rows)
        if max_staleness_s is not None and part is None:
            return self._client.retrieve_recent(key, max_staleness_s, copy=copy, timeout_s=timeout_s)
        return self._client.retrieve(key, part=part, copy=copy, timeout_s=timeout_s)

    def retrieve_many(self, keys: Iterable[str], *, timeout_s: float | None = None) -> dict[str, Any]:
        """Several values by key, in one request for each tier that has some of them."""
        wanted = list(dict.fromkeys(check_keys(keys)))
        self._check_open()
        return dict(zip(wanted, self._client.retrieve_many(wanted, timeout_s), strict=True))

    def exists(self, key: str, *, timeout_s: float | None = None) -> bool:
        """Whether there is a value to be read. Raises `Unavailable` where nobody can say within the time,
        because a disk that may have it is away."""
        check_key(key)
        self._check_open()
        return self._client.find(key, timeout_s).outcome is Outcome.OK

    def get_tier(self, key: str, *, timeout_s: float | None = None) -> str:
        """The fastest tier that has the key. Raises `KeyNotFound`, `ValueLost`, `Unavailable`."""
        check_key(key)
        self._check_open()
        located = self._client.find(key, timeout_s)
        if located.outcome is not Outcome.OK:
            raise error_of(located.outcome, key, "")
        tiers = {self._client.tier_of(member) for member, _ in located.members}
        return min(tiers, key=TIER_ORDER.index)

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that start with the prefix, sorted. Raises `Unavailable` while a disk is away and nobody
        knows what it holds."""
        self._check_open()
        return [key for key in self._client.keys(prefix) if not key.startswith(INTERNAL_PREFIX)]

    def query(
        self,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        sort: Any = None,
        limit: int | None = None,
    ) -> list[str]:
        """Keys whose metadata match a filter in the manner of MongoDB. Values of which all copies are away
        are left out; raises `Unavailable` while nobody knows which these are."""
        self._check_open()
        return self._client.query(metadata_filter or {}, sort=sort, limit=limit)

    # -- changing -----------------------------------------------------------------------------------------

    def delete(self, key: str, *, timeout_s: float | None = None) -> bool:
        """Forget a key; whether there was one."""
        return self.delete_many([key], timeout_s=timeout_s) == 1

    def delete_many(self, keys: Iterable[str], *, timeout_s: float | None = None) -> int:
        """Forget several keys; how many there were."""
        wanted = list(dict.fromkeys(check_keys(keys)))
        self._check_open()
        return self._client.delete_many(wanted, timeout_s) if wanted else 0

    def move(self, key: str, tier: str) -> None:
        """Move a key to a tier. Returns when it is there; at no moment is it nowhere."""
        check_key(key)
        self._check_open()
        self._client.move_many([key], check_tier(tier))

    def pin(self, key: str) -> None:
        """Keep a key in its tier, whatever the pressure. Raises `KeyNotFound`."""
        self._change(key, {"pinned": True})

    def unpin(self, key: str) -> None:
        """Let a key move again. Raises `KeyNotFound`."""
        self._change(key, {"pinned": False})

    def set_priority(self, key: str, priority: float) -> None:
        """Say how much a key matters where room is short; higher stays. Raises `KeyNotFound`."""
        self._change(key, {"priority": check_priority(priority)})

    def _change(self, key: str, changes: Mapping[str, Any]) -> None:
        check_key(key)
        self._check_open()
        self._client.update([key], changes)

    def compress(
        self, tier: str = "cold", compression_level: int | None = None, *, method: str = "zstd"
    ) -> dict[str, int]:
        """Write every value of the cold tier anew with this compression, and say what that saved. Reads
        and writes go on meanwhile; values come back as they were."""
        self._check_open()
        if check_tier(tier) != "cold":
            raise InvalidValue(f"only the cold tier is compressed in place, not {tier}")
        before, after = self._client.compress(tier, method, compression_level)
        return {"before_bytes": before, "after_bytes": after}

    def clear(self) -> None:
        """Forget every key, pinned ones included."""
        self._check_open()
        keys = self._client.keys()
        for start in range(0, len(keys), 10_000):
            self._client.delete_many(keys[start : start + 10_000])

    # -- snapshots -----------------------------------------------------------------------------------------

    def create_snapshot(self, path: str | Path | None = None, *, description: str = "") -> str:
        """Write everything into one file: `path`, or one in the snapshot folder. Returns the path or the
        new snapshot's id, which `restore_snapshot` takes."""
        self._check_open()
        identity, _ = self._snapshots.create(snapshot_path(path), description)
        return identity

    def restore_snapshot(
        self, snapshot: str | Path, *, keys: Sequence[str] | None = None, allow_pickle: bool = False
    ) -> list[str]:
        """Store what a snapshot holds, or some of its keys; returns them. All of it is verified before
        anything changes. Values that are pickled are refused unless ``allow_pickle=True``."""
        self._check_open()
        return self._snapshots.restore(snapshot, keys, allow_pickle)

    def list_snapshots(self) -> list[SnapshotFile]:
        """The snapshots of the snapshot folder, the oldest first."""
        self._check_open()
        return self._snapshots.list()

    # -- reports -------------------------------------------------------------------------------------------

    def get_memory_usage(self) -> dict[str, float]:
        """Percent of each tier's budget in use, over all nodes."""
        self._check_open()
        return self._reports.usage_percent()

    def get_metrics(self) -> dict[str, Any]:
        """Figures of each tier, and of this manager's own reads and writes."""
        self._check_open()
        return self._reports.metrics()

    def enable_analytics(self, interval_s: float = 0.25) -> None:
        """Begin to record usage and this manager's hit rate over time, in bounded memory."""
        self._check_open()
        if not interval_s > 0:
            raise InvalidValue(f"interval_s must be a positive number of seconds, not {interval_s!r}")
        self._reports.start_recording(interval_s)

    def get_analytics(self) -> AnalyticsReport:
        """What was recorded since `enable_analytics`: series by name, and `plot()`."""
        self._check_open()
        return self._reports.recorded()

    def visualize(self) -> Figure:
        """A picture of usage and data flow, as a matplotlib figure: save it, or show it in a notebook."""
        from .picture import draw

        self._check_open()
        return draw(self._cluster.status())

    # -- other ways to call ------------------------------------------------------------------------------

    def subscribe(self, *kinds: str, callback: Callable[[Event], None] | None = None) -> Subscription:
        """What happens from now on: values moved, evicted, repaired, lost, expired; tier actors and nodes
        that join or are lost. Without `kinds` all of it. An iterator, or with `callback` a thread that
        calls it; see `Subscription`. It ends with this memory, if it is not closed before."""
        self._check_open()
        subscription = self._client.subscribe(kinds, callback, INTERNAL_PREFIX)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def aio(self) -> AsyncMemory:
        """The same methods to be awaited: ``await memory.aio.retrieve("key")``."""
        from .aio import AsyncMemory

        self._check_open()
        if self._aio is None:
            self._aio = AsyncMemory(self)
        return self._aio

    # -- the end ---------------------------------------------------------------------------------------------

    def cleanup(self) -> None:
        """End a private memory and leave nothing behind (a named one keeps its durable data); of a shared
        one, only this connection ends. Twice is fine."""
        if not self._closed:
            self.close()
        if self._private and not self._ended:
            if not self._keeps_data:
                shutil.rmtree(self._snapshots.folder, ignore_errors=True)
            self._cluster.shutdown(delete=not self._keeps_data)
            self._ended = True

    def close(self) -> None:
        """End this connection, and leave the memory to `cleanup`. Twice is fine."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        if self._aio is not None:
            self._aio.close()
        self._reports.stop_recording()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(key) and self.exists(key)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("this MemoryManager was closed; make a new one")
