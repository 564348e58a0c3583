"""`MemoryClient`: what a process says to the coordinator and to the tier actors.

Every request is numbered, and repeated with its number until it is answered, so that a repetition
changes nothing. Thread-safe. Not for use in a forked child: that raises `Closed`.
"""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from ..errors import (
    CapacityExceeded,
    Closed,
    CorruptData,
    DeadlineExceeded,
    KeyNotFound,
    MemoriesError,
    NotEnoughNodes,
    StorageFull,
    Unavailable,
    ValueLost,
)
from ..tiers.blobs import Blob
from ..tiers.codec import decode, select_indices, select_rows
from ..tiers.encoded import Encoded
from ..tiers.metrics import Counters
from ..tiers.query import MetadataIndex
from ..tiers.record import Version
from .calls import ATTEMPT_S, GONE, Deadline, get, persist
from .core import commands as cmd
from .core import events as ev
from .core.model import MemberId, Outcome, RequestId, StoreOptions
from .names import coordinator_name
from .parcel import Parcel, fetch, pack, split, views
from .readings import Reading, ReadState

DEFAULT_TIMEOUT_S = 60.0
COMPRESS_TIMEOUT_S = 24 * 3600.0

Part = tuple[int | None, int | None, Sequence[int] | None]
"""Some rows of a value: from the first up to the second, or those of the third."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a store achieved: the version, on how many nodes it is, and whether on stable storage."""

    version: Version
    copies: int
    durable: bool


def _error(outcome: Outcome, key: str, message: str) -> MemoriesError:
    """The exception for an outcome that is not OK."""
    detail = f": {message}" if message else ""
    match outcome:
        case Outcome.FULL:
            return CapacityExceeded(
                f"there is no room for {key!r}{detail}; raise the tier's budget or delete something"
            )
        case Outcome.MISSING:
            return KeyNotFound(f"{key!r} is not stored; keys() lists what is")
        case Outcome.CORRUPT:
            return CorruptData(f"every copy of {key!r} that answers is damaged{detail}")
        case Outcome.ERROR:
            return StorageFull(f"the medium failed while {key!r} was written{detail}")
        case Outcome.TOO_FEW_NODES:
            return NotEnoughNodes(f"{key!r} was not stored{detail}; allow_degraded=True accepts fewer copies")
        case Outcome.LOST:
            return ValueLost(f"every copy of {key!r} is lost: the nodes that held it are gone")
        case Outcome.UNKNOWN:
            return DeadlineExceeded(f"whether {key!r} was changed is not known{detail}")
        case _:
            return Unavailable(f"{key!r} cannot be reached now ({outcome.name.lower()}){detail}")


class MemoryClient:
    """One process's connection to one cluster's memory."""

    def __init__(self, cluster: str, namespace: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.timeout_s = timeout_s
        self.node = ray.get_runtime_context().get_node_id()
        self.counters = Counters()
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._coordinator: Any = None
        self._tier_actors: dict[MemberId, Any] = {}

    # -- requests -----------------------------------------------------------------------------------

    def store_many(
        self,
        keys: Sequence[str],
        values: Sequence[Encoded],
        metadata: Sequence[Mapping[str, Any]],
        options: StoreOptions,
        timeout_s: float | None = None,
    ) -> Receipt:
        """Store encoded values under distinct keys. Returns when the copies that were asked for exist."""
        packed = tuple(pack(value, data) for value, data in zip(values, metadata, strict=True))
        sizes = tuple(value.nbytes for value in packed)
        event = ev.StoreMany(self._next(), tuple(keys), sizes, Parcel(packed), options)
        reply = self._ask(event, f"storing {_count(keys)}", timeout_s)
        self._raise_first(reply, keys)
        return Receipt(reply.version, reply.copies, reply.durable)

    def delete_many(self, keys: Sequence[str], timeout_s: float | None = None) -> int:
        """Delete distinct keys; how many there were."""
        reply = self._ask(ev.DeleteMany(self._next(), tuple(keys)), f"deleting {_count(keys)}", timeout_s)
        outcomes = reply.outcomes or (Outcome.OK,) * len(keys)
        for key, outcome in zip(keys, outcomes, strict=True):
            if outcome not in (Outcome.OK, Outcome.MISSING):
                raise _error(outcome, key, reply.message)
        return sum(outcome is Outcome.OK for outcome in outcomes)

    def locate_many(
        self, keys: Sequence[str], *, touch: bool = True, timeout_s: float | None = None
    ) -> tuple[cmd.Located, ...]:
        """Where each key can be read, nearest copy first."""
        event = ev.LocateMany(self._next(), tuple(keys), self.node, touch)
        return self._ask(event, f"looking up {_count(keys)}", timeout_s).located

    def keys(self, prefix: str = "", timeout_s: float | None = None) -> tuple[str, ...]:
        """All keys with a prefix, sorted."""
        return self._ask(ev.ListKeys(self._next(), prefix), "listing the keys", timeout_s).keys

    def move_many(self, keys: Sequence[str], tier: str, timeout_s: float | None = None) -> None:
        """Move keys to another tier. Returns when they are there."""
        event = ev.MoveMany(self._next(), tuple(keys), tier)
        self._raise_first(self._ask(event, f"moving {_count(keys)} to {tier}", timeout_s), keys)

    def update(self, keys: Sequence[str], changes: Mapping[str, Any], timeout_s: float | None = None) -> None:
        """Change what is said about keys (pinned, priority, expiry), not their values."""
        event = ev.UpdateKeys(self._next(), tuple(keys), changes)
        self._raise_first(self._ask(event, f"changing {_count(keys)}", timeout_s), keys)

    def retrieve_many(self, keys: Sequence[str], timeout_s: float | None = None) -> list[Any]:
        """The values of keys, in their order. Raises for the first key that cannot be read."""
        deadline = Deadline.after(self._timeout(timeout_s), f"reading {_count(keys)}")
        values: dict[str, Any] = {}
        wanted = list(dict.fromkeys(keys))
        while wanted:
            located = self.locate_many(wanted, timeout_s=deadline.remaining_s())
            for key, where in zip(wanted, located, strict=True):
                if where.outcome is not Outcome.OK:
                    raise _error(where.outcome, key, "")
            values.update(self._read_located(wanted, located, deadline))
            wanted = [key for key in wanted if key not in values]
        return [values[key] for key in keys]

    def retrieve(
        self, key: str, *, part: Part | None = None, copy: bool = False, timeout_s: float | None = None
    ) -> Any:
        """One value, or some of its rows: `part` is (start, end, rows)."""
        deadline = Deadline.after(self._timeout(timeout_s), f"reading {key!r}")
        while True:
            located = self.locate_many([key], timeout_s=deadline.remaining_s())
            if located[0].outcome is not Outcome.OK:
                self.counters.add(misses=1)
                raise _error(located[0].outcome, key, "")
            if part is None:
                values = self._read_located([key], located, deadline, copy)
            else:
                values = self._read_part(key, located[0], part, deadline, copy)
            if key in values:
                self.counters.add(hits=1)
                return values[key]

    def query(
        self, metadata_filter: Mapping[str, Any], *, sort: Any = None, limit: int | None = None
    ) -> list[str]:
        """Keys whose metadata match. Every tier actor is asked once; what is not current is left out."""
        deadline = Deadline.after(self.timeout_s, "the query")
        members = persist(
            lambda s: get(self._coordinator_handle().members.remote(), s), deadline, self._forget_coordinator
        )
        calls = [
            actor.query.remote(metadata_filter, sort, limit)
            for info in members
            if (actor := self._tier_actor(info.member)) is not None
        ]
        found: dict[str, tuple[Version, Mapping[str, Any]]] = {}
        for call in calls:
            for key, version, metadata in get(call, deadline.remaining_s()):
                if key not in found or found[key][0] < version:
                    found[key] = (version, metadata)
        keys = list(found)
        located = self.locate_many(keys, touch=False, timeout_s=deadline.remaining_s()) if keys else ()
        current = [k for k, where in zip(keys, located, strict=True) if where.version == found[k][0]]
        if sort:
            index = MetadataIndex()
            for key in current:
                index.set(key, found[key][1])
            return index.query({}, sort=sort, limit=limit)
        return current if limit is None else current[:limit]

    def compress(self, tier: str, method: str, level: int | None) -> tuple[int, int]:
        """Write every value of a tier anew with this compression; the bytes used before and after."""
        deadline = Deadline.after(COMPRESS_TIMEOUT_S, f"compressing {tier}")
        members = persist(
            lambda s: get(self._coordinator_handle().members.remote(), s), deadline, self._forget_coordinator
        )
        calls = [
            actor.compress.remote(method, level)
            for info in members
            if info.tier == tier and (actor := self._tier_actor(info.member)) is not None
        ]
        sizes = [get(call, deadline.remaining_s()) for call in calls]
        return sum(before for before, _ in sizes), sum(after for _, after in sizes)

    def tier_of(self, member: MemberId) -> str:
        """The tier that a member is: the last part of its name, without a number."""
        return member.rpartition("/")[2].rstrip("0123456789")

    def blobs(self, keys: Sequence[str], batch_bytes: int) -> Iterator[Blob]:
        """Keys as they are stored, record and bytes; those that are deleted meanwhile are left out."""
        deadline = Deadline.after(self.timeout_s, f"reading {_count(keys)}")
        wanted = list(keys)
        while wanted:
            located = self.locate_many(wanted, touch=False, timeout_s=deadline.remaining_s())
            batch: dict[tuple[MemberId, int], list[tuple[str, Version]]] = {}
            nbytes = 0
            rest = []
            for key, where in zip(wanted, located, strict=True):
                if where.outcome is Outcome.MISSING:
                    continue
                if where.outcome is not Outcome.OK:
                    raise _error(where.outcome, key, "")
                if batch and nbytes + where.nbytes > batch_bytes:
                    rest.append(key)
                    continue
                nbytes += where.nbytes
                batch.setdefault(where.members[0], []).append((key, where.version))
            for (member, incarnation), group in batch.items():
                yield from self._handed_over(member, incarnation, group, rest, deadline)
            if len(rest) < len(wanted):
                deadline = Deadline.after(self.timeout_s, deadline.what)
            wanted = rest

    def _handed_over(
        self,
        member: MemberId,
        incarnation: int,
        group: Sequence[tuple[str, Version]],
        again: list[str],
        deadline: Deadline,
    ) -> Iterator[Blob]:
        """The blobs of one member; keys that it does not have any more go to `again`."""
        names, versions = zip(*group, strict=True)
        actor = self._tier_actor(member)
        try:
            if actor is None:
                raise Unavailable(f"member {member} is gone")
            handed = get(actor.hand_over.remote(incarnation, names, versions), deadline.remaining_s())
        except (*GONE, GetTimeoutError, Unavailable):
            self._tier_actors.pop(member, None)
            again += names
            return
        for key, version, found in zip(names, versions, handed, strict=True):
            if isinstance(found, Outcome):
                if found is Outcome.CORRUPT:
                    self._tell(ev.CopyCorrupt(key, version, member, incarnation))
                again.append(key)
            else:
                _, record, arrays = found
                yield Blob(record, views(arrays))

    # -- reading ------------------------------------------------------------------------------------

    def _read_part(
        self, key: str, where: cmd.Located, part: Part, deadline: Deadline, copy: bool
    ) -> dict[str, Any]:
        member, incarnation = where.members[0]
        actor = self._tier_actor(member)
        if actor is None:
            return {}
        start, end, rows = part
        try:
            record = get(actor.headers.remote(incarnation, key, where.version), deadline.remaining_s())
            if record is None:
                return {}
            if rows is not None:
                selection = select_indices(record.header, rows)
            else:
                selection = select_rows(record.header, 0 if start is None else start, end)
            call = actor.read_part.remote(incarnation, key, where.version, selection)
            reading: Reading = get(call, deadline.remaining_s())
        except GONE:
            self._tier_actors.pop(member, None)
            return {}
        except GetTimeoutError:
            deadline.remaining_s()
            return {}
        if reading.state is ReadState.CORRUPT:
            self._tell(ev.CopyCorrupt(key, where.version, member, incarnation))
        if reading.state is not ReadState.OK or reading.arrays is None:
            return {}
        return {key: decode(reading.header, views(reading.arrays), allow_pickle=True, writable=copy)}

    def _read_located(
        self, keys: Sequence[str], located: Sequence[cmd.Located], deadline: Deadline, copy: bool = False
    ) -> dict[str, Any]:
        """What could be read at the nearest copies; keys that have moved meanwhile are left out."""
        groups: dict[tuple[MemberId, int], list[tuple[str, Version]]] = {}
        for key, where in zip(keys, located, strict=True):
            groups.setdefault(where.members[0], []).append((key, where.version))
        refs = []
        for (member, incarnation), wanted in groups.items():
            actor = self._tier_actor(member)
            if actor is not None:
                names, versions = zip(*wanted, strict=True)
                refs.append(
                    (member, incarnation, wanted, actor.read.remote(incarnation, names, versions, self.node))
                )
        values: dict[str, Any] = {}
        for member, incarnation, wanted, ref in refs:
            try:
                readings: list[Reading] = get(ref, min(deadline.remaining_s(), ATTEMPT_S))
            except GetTimeoutError:
                deadline.remaining_s()
                continue
            except GONE:
                self._tier_actors.pop(member, None)
                continue
            for (key, version), reading in zip(wanted, readings, strict=True):
                if reading.state is ReadState.CORRUPT:
                    self._tell(ev.CopyCorrupt(key, version, member, incarnation))
                elif reading.state is ReadState.OK:
                    values[key] = self._value(key, reading, member, incarnation, deadline, copy)
        return values

    def _value(
        self,
        key: str,
        reading: Reading,
        member: MemberId,
        incarnation: int,
        deadline: Deadline,
        copy: bool,
    ) -> Any:
        if reading.inline is not None:
            buffers = split(reading.inline, reading.lengths)
        elif reading.arrays is not None:
            buffers = views(reading.arrays)
        else:
            assert reading.ref is not None
            try:
                buffers = fetch(reading.ref, min(deadline.remaining_s(), 2.0))
            except (Unavailable, DeadlineExceeded):
                # The owner of the reference is gone; the actor still has the bytes.
                actor = self._tier_actor(member)
                if actor is None:
                    raise Unavailable(f"{key!r} was on a node that is gone; read it again") from None
                call = actor.read.remote(incarnation, (key,), (reading.version,), "")
                (again,) = get(call, deadline.remaining_s())
                if again.state is not ReadState.OK:
                    raise Unavailable(f"{key!r} was moved while it was read; read it again") from None
                buffers = (
                    views(again.arrays) if again.arrays is not None else split(again.inline, again.lengths)
                )
        return decode(reading.header, buffers, allow_pickle=True, writable=copy)

    # -- plumbing -----------------------------------------------------------------------------------

    def _ask(self, event: ev.ClientEvent, what: str, timeout_s: float | None) -> cmd.Reply:
        self._check_usable()
        deadline = Deadline.after(self._timeout(timeout_s), what)

        def attempt(attempt_s: float) -> cmd.Reply:
            reply: cmd.Reply = get(self._coordinator_handle().ask.remote(event), attempt_s)
            return reply

        reply: cmd.Reply = persist(attempt, deadline, self._forget_coordinator)
        return reply

    def _tell(self, event: ev.Event) -> None:
        """Best effort: what is told here is found out again if it is lost."""
        self._coordinator_handle().tell.remote(event)

    def _next(self) -> RequestId:
        return RequestId(self._name, next(self._numbers))

    def _timeout(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else timeout_s

    def _coordinator_handle(self) -> Any:
        with self._lock:
            if self._coordinator is None:
                self._coordinator = ray.get_actor(coordinator_name(self.cluster), self.namespace)
            return self._coordinator

    def _forget_coordinator(self) -> None:
        with self._lock:
            self._coordinator = None

    def _tier_actor(self, member: MemberId) -> Any | None:
        actor = self._tier_actors.get(member)
        if actor is None:
            name = get(self._coordinator_handle().actor_name.remote(member), ATTEMPT_S)
            if name is None:
                return None
            try:
                actor = ray.get_actor(name, self.namespace)
            except ValueError:
                return None
            self._tier_actors[member] = actor
        return actor

    def _check_usable(self) -> None:
        if self._closed:
            raise Closed("this memory is closed")
        if os.getpid() != self._pid:
            raise Closed(
                "this memory belongs to the parent process: Ray does not work across fork; "
                "connect again in the child, or start it with the 'spawn' method"
            )

    def close(self) -> None:
        """Forget the connection. The cluster goes on."""
        self._closed = True

    def _raise_first(self, reply: cmd.Reply, keys: Iterable[str]) -> None:
        if reply.outcomes is None:
            return
        for key, outcome in zip(keys, reply.outcomes, strict=True):
            if outcome is not Outcome.OK:
                raise _error(outcome, key, reply.message)


def _count(keys: Sequence[str]) -> str:
    return repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
