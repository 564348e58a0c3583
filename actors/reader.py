"""`Reader`: gets located values from the tier actors, in the way that costs least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ray.exceptions import GetTimeoutError

from ..errors import DeadlineExceeded, Unavailable
from ..tiers.blobs import Blob
from ..tiers.codec import decode, select_indices, select_rows
from ..tiers.record import Version
from . import wire
from .calls import ATTEMPT_S, GONE, Deadline, get
from .connection import Connection
from .core import commands as cmd
from .core import events as ev
from .core.model import MemberId, Outcome
from .outcomes import error_of
from .parcel import fetch, split, views
from .readings import Reading, Readings, ReadMany, ReadState

Part = tuple[int | None, int | None, Sequence[int] | None]
"""Some rows of a value: from the first up to the second, or those of the third."""

DEAD_REFERENCE_S = 2.0
"""After so long without an answer a reference is taken for dead, and the bytes come from the actor."""


def count_of(keys: Sequence[str]) -> str:
    """Which keys, for an error message."""
    return repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"


class Reader:
    """Reads what `locate` has found. A key that has moved meanwhile is left out: ask again. Thread-safe."""

    def __init__(
        self, connection: Connection, locate: Callable[[Sequence[str], Deadline], tuple[cmd.Located, ...]]
    ) -> None:
        self._connection = connection
        self._locate = locate

    def blobs(self, keys: Sequence[str], batch_bytes: int) -> Iterator[Blob]:
        """Keys as they are stored, record and bytes; those that are deleted meanwhile are left out."""
        deadline = Deadline.after(self._connection.timeout_s, f"reading {count_of(keys)}")
        wanted = list(keys)
        while wanted:
            located = self._locate(wanted, deadline)
            batch: dict[tuple[MemberId, int], list[tuple[str, Version]]] = {}
            nbytes = 0
            rest = []
            for key, where in zip(wanted, located, strict=True):
                if where.outcome is Outcome.MISSING:
                    continue
                if where.outcome is not Outcome.OK:
                    raise error_of(where.outcome, key, "")
                if batch and nbytes + where.nbytes > batch_bytes:
                    rest.append(key)
                    continue
                nbytes += where.nbytes
                batch.setdefault(where.members[0], []).append((key, where.version))
            for (member, incarnation), group in batch.items():
                yield from self._handed_over(member, incarnation, group, rest, deadline)
            if len(rest) < len(wanted):
                deadline = Deadline.after(self._connection.timeout_s, deadline.what)
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
        actor = self._connection.tier_actor(member)
        try:
            if actor is None:
                raise Unavailable(f"member {member} is gone")
            handed = get(actor.hand_over.remote(incarnation, names, versions), deadline.remaining_s())
        except (*GONE, GetTimeoutError, Unavailable):
            self._connection.forget_tier_actor(member)
            again += names
            return
        for key, version, found in zip(names, versions, handed, strict=True):
            if isinstance(found, Outcome):
                if found is Outcome.CORRUPT:
                    self._connection.tell(ev.CopyCorrupt(key, version, member, incarnation))
                again.append(key)
            else:
                _, record, arrays = found
                yield Blob(record, views(arrays))

    def read_part(
        self, key: str, where: cmd.Located, part: Part, deadline: Deadline, copy: bool
    ) -> dict[str, Any]:
        member, incarnation = where.members[0]
        actor = self._connection.tier_actor(member)
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
            self._connection.forget_tier_actor(member)
            return {}
        except GetTimeoutError:
            deadline.remaining_s()
            return {}
        if reading.state is ReadState.CORRUPT:
            self._connection.tell(ev.CopyCorrupt(key, where.version, member, incarnation))
        if reading.state is not ReadState.OK or reading.arrays is None:
            return {}
        return {key: decode(reading.header, views(reading.arrays), allow_pickle=True, writable=copy)}

    def read_located(
        self, keys: Sequence[str], located: Sequence[cmd.Located], deadline: Deadline, copy: bool = False
    ) -> dict[str, Any]:
        """What could be read at the nearest copies; keys that have moved meanwhile are left out."""
        groups: dict[tuple[MemberId, int], list[tuple[str, Version]]] = {}
        for key, where in zip(keys, located, strict=True):
            groups.setdefault(where.members[0], []).append((key, where.version))
        refs = []
        for (member, incarnation), wanted in groups.items():
            actor = self._connection.tier_actor(member)
            if actor is not None:
                request = _read_many(incarnation, wanted, self._connection.node)
                refs.append((member, incarnation, wanted, actor.read.remote(request)))
        values: dict[str, Any] = {}
        for member, incarnation, wanted, ref in refs:
            try:
                readings: Readings = wire.load(get(ref, min(deadline.remaining_s(), ATTEMPT_S)))
            except GetTimeoutError:
                deadline.remaining_s()
                continue
            except GONE:
                self._connection.forget_tier_actor(member)
                continue
            slab, ends, others = readings.slab, readings.ends, readings.others
            end = 0
            for position, (key, version) in enumerate(wanted):
                start, end = end, ends[position]
                reading = others.get(position)
                if reading is None:
                    # A private copy: a view would keep all the others alive for one value.
                    buffers = split(bytes(slab[start:end]), readings.lengths[position])
                    header = readings.headers[position]
                    values[key] = decode(header, buffers, allow_pickle=True, writable=copy)
                elif reading.state is ReadState.CORRUPT:
                    self._connection.tell(ev.CopyCorrupt(key, version, member, incarnation))
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
        if reading.arrays is not None:
            buffers = views(reading.arrays)
        else:
            assert reading.ref is not None
            try:
                buffers = fetch(reading.ref, min(deadline.remaining_s(), DEAD_REFERENCE_S))
            except (Unavailable, DeadlineExceeded):
                # The owner of the reference is gone; the actor still has the bytes.
                actor = self._connection.tier_actor(member)
                if actor is None:
                    raise Unavailable(f"{key!r} was on a node that is gone; read it again") from None
                request = _read_many(incarnation, [(key, reading.version)], "")
                again = wire.load(get(actor.read.remote(request), deadline.remaining_s())).others.get(0)
                if again is None or again.arrays is None:
                    raise Unavailable(f"{key!r} was moved while it was read; read it again") from None
                buffers = views(again.arrays)
        return decode(reading.header, buffers, allow_pickle=True, writable=copy)


def _read_many(incarnation: int, wanted: Sequence[tuple[str, Version]], node: str) -> Any:
    keys, versions = zip(*wanted, strict=True)
    return wire.dump(ReadMany(incarnation, keys, versions, node))
