"""`MemoryClient`: what a process says to the coordinator and to the tier actors.

Every request is numbered, and repeated with its number until it is answered, so that a repetition
changes nothing. Thread-safe. Not for use in a forked child: that raises `Closed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import GetTimeoutError

from ..errors import DeadlineExceeded, KeyNotFound, Unavailable
from ..tiers.blobs import Blob
from ..tiers.codec import decode, encode
from ..tiers.encoded import Encoded
from ..tiers.metrics import Counters
from ..tiers.query import MetadataIndex
from ..tiers.record import Version
from ..tiers.validation import check_prefix
from .calls import ATTEMPT_S, GONE, Deadline, get
from .connection import DEFAULT_TIMEOUT_S, Connection
from .core import commands as cmd
from .core import events as ev
from .core.model import MemberId, Outcome, StoreOptions
from .core.read_plan import RETRY_S, ReadPlan
from .cuts import Cut
from .outcomes import error_of, raise_first
from .parcel import pack_many, split
from .reader import Part, Reader, count_of
from .recent_values import MAX_VALUE_BYTES, Recent, RecentValues
from .subscription import Event, Subscription

FULL_TRIES = 4
"""How often a store asks for room, each time after the coordinator has let others sink."""
MAX_PAUSE_S = 0.5
"""So long, at most, a read waits before it asks again where a value is."""
COMPRESS_TIMEOUT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a store achieved: the version, on how many nodes it is, and whether on stable storage."""

    version: Version
    copies: int
    durable: bool


class MemoryClient:
    """One process's connection to one cluster's memory."""

    def __init__(self, cluster: str, namespace: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._connection = Connection(cluster, namespace, timeout_s=timeout_s)
        self._reader = Reader(
            self._connection,
            lambda keys, deadline: self.locate_many(keys, touch=False, timeout_s=deadline.remaining_s()),
        )
        self.node = self._connection.node
        self.counters = Counters()
        self._recent = RecentValues()

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
        parcel = pack_many(values, metadata)
        sizes = parcel.sizes()
        try:
            for left in reversed(range(FULL_TRIES)):
                with self._connection.turn() as request:
                    event = ev.StoreMany(request, tuple(keys), sizes, parcel, options)
                    reply = self._connection.ask(event, f"storing {count_of(keys)}", timeout_s)
                if not left or set(reply.outcomes or ()) != {Outcome.FULL}:
                    break  # otherwise nothing was stored: others took the room that was made, so once more
        finally:
            self._recent.written(keys)
        raise_first(reply, keys)
        self.counters.add(stores=len(keys), bytes_in=sum(sizes))
        return Receipt(reply.version, reply.copies, reply.durable)

    def delete_many(self, keys: Sequence[str], timeout_s: float | None = None) -> int:
        """Delete distinct keys; how many there were."""
        try:
            with self._connection.turn() as request:
                event = ev.DeleteMany(request, tuple(keys))
                reply = self._connection.ask(event, f"deleting {count_of(keys)}", timeout_s)
        finally:
            self._recent.written(keys)
        outcomes = reply.outcomes or (Outcome.OK,) * len(keys)
        for key, outcome in zip(keys, outcomes, strict=True):
            if outcome not in (Outcome.OK, Outcome.MISSING):
                raise error_of(outcome, key, reply.message)
        return sum(outcome is Outcome.OK for outcome in outcomes)

    def locate_many(
        self, keys: Sequence[str], *, touch: bool = True, timeout_s: float | None = None
    ) -> tuple[cmd.Located, ...]:
        """Where each key can be read, nearest copy first."""
        event = ev.LocateMany(self._connection.next_request(), tuple(keys), self.node, touch)
        return self._connection.ask(event, f"looking up {count_of(keys)}", timeout_s).located

    def find(self, key: str, timeout_s: float | None = None) -> cmd.Located:
        """Where one key can be read; asks again while nobody can say. Raises `Unavailable` in the end."""
        deadline = Deadline.after(self._connection.timeout_or_default(timeout_s), f"looking up {key!r}")
        pause_s = RETRY_S
        while True:
            (located,) = self.locate_many([key], touch=False, timeout_s=deadline.remaining_s())
            left_s = deadline.ends_s - time.monotonic()
            if located.outcome is not Outcome.UNAVAILABLE:
                return located
            if left_s <= pause_s:
                raise error_of(located.outcome, key, "the disks that may have it do not answer")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def keys(
        self, prefix: str = "", timeout_s: float | None = None, *, all_known: bool = True
    ) -> tuple[str, ...]:
        """All keys with a prefix, sorted. Raises `Unavailable` while a disk is away and nobody knows what
        it holds, but for ``all_known=False``."""
        event = ev.ListKeys(self._connection.next_request(), check_prefix(prefix))
        reply = self._connection.ask(event, "listing the keys", timeout_s)
        if all_known and reply.outcomes is not None:
            raise Unavailable(f"not all keys are known: {reply.message}")
        return reply.keys

    def move_many(self, keys: Sequence[str], tier: str, timeout_s: float | None = None) -> None:
        """Move keys to another tier. Returns when they are there."""
        event = ev.MoveMany(self._connection.next_request(), tuple(keys), tier)
        raise_first(self._connection.ask(event, f"moving {count_of(keys)} to {tier}", timeout_s), keys)

    def update(self, keys: Sequence[str], changes: Mapping[str, Any], timeout_s: float | None = None) -> None:
        """Change what is said about keys (pinned, priority, expiry), not their values."""
        with self._connection.turn() as request:
            event = ev.UpdateKeys(request, tuple(keys), changes)
            reply = self._connection.ask(event, f"changing {count_of(keys)}", timeout_s)
        raise_first(reply, keys)

    def retrieve_many(self, keys: Sequence[str], timeout_s: float | None = None) -> list[Any]:
        """The values of keys, in their order. Raises for the first key that cannot be read."""
        deadline = Deadline.after(self._connection.timeout_or_default(timeout_s), f"reading {count_of(keys)}")
        values = self._read(keys, None, deadline, copy=False)
        return [values[key] for key in keys]

    def _read(self, keys: Sequence[str], part: Part | None, deadline: Deadline, copy: bool) -> dict[str, Any]:
        """The values of keys, whatever happens to copies and members meanwhile."""
        plan = ReadPlan(keys)
        pause_s, tries = RETRY_S, 0
        values: dict[str, Any] = {}
        while True:
            wanted = plan.wanted()
            guess = self._reader.guess(wanted) if part is None and not tries else None
            located = self.locate_many(wanted, touch=not tries, timeout_s=deadline.remaining_s())
            visits = plan.located(wanted, located)
            if part is None:
                found, failures = self._reader.visit(visits, deadline, copy, guess)
                guess = None  # an exception that somebody keeps would keep the answer
                values.update(found)
            else:
                failures = []
                for visit in visits:
                    found, failed = self._reader.visit_part(visit, part, deadline, copy)
                    values.update(found)
                    failures.append(failed)
            for visit, failed in zip(visits, failures, strict=True):
                for report in plan.visited(visit, failed):
                    self._connection.tell(report)
            if plan.done:
                break
            left_s = deadline.ends_s - time.monotonic()
            if left_s <= 0:
                raise DeadlineExceeded(
                    f"{plan.wanted()[0]!r} could not be read within {deadline.timeout_s:g} s: the members or "
                    "disks that have it do not answer. Cluster.status() shows which are there"
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            tries += 1  # asking again for the same read is not another use of the key
        if len(values) < len(set(keys)):
            missing = next(key for key in keys if key not in values)
            raise error_of(plan.outcome(missing), missing, "")
        return values

    def retrieve_recent(
        self, key: str, max_staleness_s: float, *, copy: bool = False, timeout_s: float | None = None
    ) -> Any:
        """One value, from this process's own memory where it is small and was current at most so long ago."""
        now_s = time.monotonic()
        recent = self._recent.get(key, now_s - max_staleness_s)
        if recent is not None:
            self._connection.check_usable()
            return recent.make(copy)
        writes = self._recent.writes
        value = self.retrieve(key, copy=copy, timeout_s=timeout_s)
        encoded = encode(value)
        if encoded.nbytes <= MAX_VALUE_BYTES:
            joined, lengths = b"".join(encoded.buffers), tuple(b.nbytes for b in encoded.buffers)

            def make(writable: bool) -> Any:
                return decode(encoded.header, split(joined, lengths), allow_pickle=True, writable=writable)

            self._recent.add(key, Recent(make, now_s, encoded.nbytes), writes)
        return value

    def retrieve(
        self, key: str, *, part: Part | None = None, copy: bool = False, timeout_s: float | None = None
    ) -> Any:
        """One value, or some of its rows: `part` is (start, end, rows)."""
        deadline = Deadline.after(self._connection.timeout_or_default(timeout_s), f"reading {key!r}")
        try:
            value = self._read([key], part, deadline, copy)[key]
        except KeyNotFound:
            self.counters.add(misses=1)
            raise
        self.counters.add(hits=1)
        return value

    def query(
        self,
        metadata_filter: Mapping[str, Any],
        *,
        sort: Any = None,
        limit: int | None = None,
        all_known: bool = True,
    ) -> list[str]:
        """Keys whose metadata match. Every tier actor is asked once; what is not current is left out, and
        what is on disks that are away. `all_known` is as for `keys`."""
        MetadataIndex().query(metadata_filter, sort=sort, limit=limit)  # a bad one is refused here
        deadline = Deadline.after(self._connection.timeout_s, "the query")
        found: dict[str, tuple[Version, Mapping[str, Any]]] = {}
        answers = self._ask_members(
            lambda actor: actor.query.remote(metadata_filter, sort, limit),
            deadline,
            ATTEMPT_S,
            all_known=all_known,
        )
        for answer in answers:
            for key, version, metadata in answer:
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

    def metadata_of(
        self, keys: Sequence[str], located: Sequence[cmd.Located], timeout_s: float | None = None
    ) -> dict[str, Mapping[str, Any]]:
        """What is said of keys, for people to look at. The nearest holders are asked once each; keys whose
        holder has gone, or does not answer in time, are left out."""
        at: dict[MemberId, list[str]] = {}
        for key, where in zip(keys, located, strict=True):
            if where.members:
                at.setdefault(where.members[0][0], []).append(key)
        deadline = Deadline.after(self._connection.timeout_or_default(timeout_s), "reading metadata")
        actors = [(self._connection.tier_actor(member, deadline), held) for member, held in at.items()]
        calls = [actor.metadata_of.remote(held) for actor, held in actors if actor is not None]
        found: dict[str, Mapping[str, Any]] = {}
        for call in calls:
            try:
                found.update(get(call, max(0.0, deadline.ends_s - time.monotonic())))
            except (*GONE, GetTimeoutError):
                continue
        return found

    def compress(self, tier: str, method: str, level: int | None) -> tuple[int, int]:
        """Write every value of a tier anew with this compression; the bytes used before and after."""
        deadline = Deadline.after(COMPRESS_TIMEOUT_S, f"compressing {tier}")
        sizes = self._ask_members(
            lambda actor: actor.compress.remote(method, level), deadline, COMPRESS_TIMEOUT_S, tier
        )
        return sum(before for before, _ in sizes), sum(after for _, after in sizes)

    def _ask_members(
        self,
        call: Callable[[Any], Any],
        deadline: Deadline,
        attempt_s: float,
        tier: str | None = None,
        *,
        all_known: bool = False,
    ) -> list[Any]:
        """The answers of all members (of a tier); once more of all where one of them was lost meanwhile."""
        while True:
            members = self._connection.members(deadline, all_known=all_known)
            infos = [info for info in members if tier in (None, info.tier)]
            actors = [self._connection.tier_actor(info.member, deadline) for info in infos]
            if None not in actors:
                calls = [call(actor) for actor in actors]
                try:
                    return [get(answer, min(deadline.remaining_s(), attempt_s)) for answer in calls]
                except GetTimeoutError:
                    deadline.remaining_s()
                    continue
                except GONE:
                    pass
            for info in infos:
                self._connection.forget_tier_actor(info.member)
            time.sleep(min(RETRY_S, deadline.remaining_s()))

    def tier_of(self, member: MemberId) -> str:
        """The tier that a member is: the last part of its name, without a number."""
        return member.rpartition("/")[2].rstrip("0123456789")

    def subscribe(
        self, kinds: Sequence[str], callback: Callable[[Event], None] | None, hidden_prefix: str = ""
    ) -> Subscription:
        """What happens on the cluster from now on."""
        return Subscription(self._connection, kinds, callback, hidden_prefix)

    def begin_cut(self) -> Cut:
        """A point in time for a snapshot of everything."""
        cut: Cut = self._connection.call("begin_cut")
        return cut

    def read_cut(self, cut: Cut, keys: Sequence[str], *, last: bool = False) -> tuple[str, ...]:
        """These keys of a cut have been read; which ones to read next, because writers wait for them."""
        urgent: tuple[str, ...] = self._connection.call("read_cut", cut.id, tuple(keys), last)
        return urgent

    def blobs(self, keys: Sequence[str], batch_bytes: int) -> Iterator[Blob]:
        """Keys as they are stored, record and bytes; those that are deleted meanwhile are left out."""
        return self._reader.blobs(keys, batch_bytes)

    def close(self) -> None:
        """Forget the connection. The cluster goes on."""
        self._connection.close()
