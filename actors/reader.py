"""`Reader`: gets located values from the tier actors, in the way that costs least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ray.exceptions import GetTimeoutError

from ..errors import CorruptData, DeadlineExceeded, InvalidType, MemoriesError, Unavailable
from ..tiers.blobs import Blob
from ..tiers.codec import decode, rows_of, select_indices, select_rows
from ..tiers.codec.selecting import check_bound, check_indices
from ..tiers.record import Version
from . import wire
from .calls import ATTEMPT_S, GONE, Deadline, get
from .connection import Connection
from .core import commands as cmd
from .core import events as ev
from .core.model import MemberId, Outcome
from .core.read_plan import Visit
from .guesses import Guesses, Place
from .outcomes import error_of
from .parcel import fetch, split, views
from .readings import Reading, Readings, ReadMany, ReadState

Part = tuple[int | None, int | None, Sequence[int] | None]
"""Some rows of a value: from the first up to the second, or those of the third."""


def checked_part(start: object, end: object, rows: object) -> Part:
    """Rows as they were asked for. Raises `InvalidType` for what are no whole numbers."""
    numbers = None if rows is None else cast(Sequence[int], check_indices(rows))
    return check_bound("start", start), check_bound("end", end), numbers


DEAD_REFERENCE_S = 2.0
"""After so long without an answer a reference is taken for dead, and the bytes come from the actor."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A read that was begun where the key probably is."""

    key: str
    place: Place
    version: Version | None
    """The one that was asked for; None: any."""
    call: Any

    def was_right(self, visit: Visit) -> bool:
        """Whether the coordinator sends the reader there and nowhere else."""
        right_version = self.version is None or visit.versions == (self.version,)
        return right_version and visit.keys == (self.key,) and (visit.member, visit.incarnation) == self.place


def count_of(keys: Sequence[str]) -> str:
    """Which keys, for an error message."""
    return repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"


class Reader:
    """Visits the members that have the values. Thread-safe."""

    def __init__(
        self, connection: Connection, locate: Callable[[Sequence[str], Deadline], tuple[cmd.Located, ...]]
    ) -> None:
        self._connection = connection
        self._locate = locate
        self._guesses = Guesses()

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
        actor = self._connection.tier_actor(member, deadline)
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

    def visit_part(
        self, visit: Visit, part: Part, deadline: Deadline, copy: bool
    ) -> tuple[dict[str, Any], dict[str, Outcome]]:
        """As `visit`, for some rows of one value."""
        (key,), (version,) = visit.keys, visit.versions
        actor = self._connection.tier_actor(visit.member, deadline)
        start, end, rows = part
        unavailable = {key: Outcome.UNAVAILABLE}
        if actor is None:
            return {}, unavailable
        try:
            call = actor.headers.remote(visit.incarnation, key, version)
            record = get(call, min(deadline.remaining_s(), ATTEMPT_S))
            if record is None:
                return {}, {key: Outcome.MISSING}
            try:
                if rows is not None:
                    selection = select_indices(record.header, rows)
                else:
                    selection = select_rows(record.header, 0 if start is None else start, end)
            except InvalidType:
                # Where the rows of texts, lists and frames lie is known to the value only.
                values, (failed,) = self.visit((visit,), deadline, copy)
                return {key: rows_of(value, start, end, rows) for key, value in values.items()}, failed
            call = actor.read_part.remote(visit.incarnation, key, version, selection)
            reading: Reading = get(call, min(deadline.remaining_s(), ATTEMPT_S))
        except (*GONE, GetTimeoutError):
            deadline.remaining_s()
            self._connection.forget_tier_actor(visit.member)
            return {}, unavailable
        if reading.state is not ReadState.OK or reading.arrays is None:
            corrupt = reading.state is ReadState.CORRUPT
            return {}, {key: Outcome.CORRUPT if corrupt else Outcome.MISSING}
        value = decode(reading.header, views(reading.arrays), allow_pickle=True, writable=copy)
        return {key: value}, {}

    def guess(self, keys: Sequence[str]) -> Guess | None:
        """Begin to read one key where it probably is, while the coordinator is still to be asked."""
        self._connection.check_usable()
        guessed = self._guesses.of(keys[0]) if len(keys) == 1 else None
        if guessed is None:
            return None
        place, version = guessed
        actor = self._connection.known_tier_actor(place[0])
        if actor is None:
            return None
        versions = () if version is None else (version,)
        request = wire.dump(ReadMany(place[1], tuple(keys), versions, self._connection.node))
        return Guess(keys[0], place, version, actor.read.remote(request))

    def visit(
        self, visits: Sequence[Visit], deadline: Deadline, copy: bool = False, guess: Guess | None = None
    ) -> tuple[dict[str, Any], list[dict[str, Outcome]]]:
        """The values that could be read, and for each visit which of its keys could not."""
        if len(visits) == 1 and len(visits[0].keys) == 1:
            self._guesses.found(visits[0].keys[0], (visits[0].member, visits[0].incarnation))
        right = [guess is not None and guess.was_right(visit) for visit in visits]
        calls: list[Any] = []
        for visit, guessed in zip(visits, right, strict=True):
            calls.append(guess.call if guess is not None and guessed else self._call(visit, deadline))
        values: dict[str, Any] = {}
        failures = []
        for visit, call, guessed in zip(visits, calls, right, strict=True):
            failed: dict[str, Outcome] = {}
            failures.append(failed)
            try:
                readings = self._answer(call, deadline)
                any_version = guess is not None and guess.version is None
                if guessed and any_version and readings.versions != visit.versions:
                    # It was another version than the one that counts, or costs more than a guess may.
                    if not any(readings.versions[0]):
                        self._guesses.unanswered(visit.keys[0])
                    readings = self._answer(self._call(visit, deadline), deadline)
            except (*GONE, GetTimeoutError, Unavailable):
                deadline.remaining_s()
                self._connection.forget_tier_actor(visit.member)
                failed.update(dict.fromkeys(visit.keys, Outcome.UNAVAILABLE))
                continue
            slab, ends, others = readings.slab, readings.ends, readings.others
            end = 0
            for position, key in enumerate(visit.keys):
                start, end = end, ends[position]
                reading = others.get(position)
                if reading is None:
                    # A private copy: a view would keep all the others alive for one value.
                    buffers = split(bytes(slab[start:end]), readings.lengths[position])
                    header = readings.headers[position]
                    values[key] = decode(header, buffers, allow_pickle=True, writable=copy)
                elif reading.state is ReadState.OK:
                    try:
                        values[key] = self._value(key, reading, visit, deadline, copy)
                        if reading.ref is not None:
                            self._guesses.led_to_memory(key, reading.version)
                    except (*GONE, GetTimeoutError, Unavailable):
                        failed[key] = Outcome.UNAVAILABLE
                    except CorruptData:
                        failed[key] = Outcome.CORRUPT
                else:
                    corrupt = reading.state is ReadState.CORRUPT
                    failed[key] = Outcome.CORRUPT if corrupt else Outcome.MISSING
        return values, failures

    def _call(self, visit: Visit, deadline: Deadline) -> Any | None:
        """Ask a member for exactly these versions; None where it has no actor now."""
        actor = self._connection.tier_actor(visit.member, deadline)
        if actor is None:
            return None
        node = self._connection.node
        return actor.read.remote(wire.dump(ReadMany(visit.incarnation, visit.keys, visit.versions, node)))

    def _answer(self, call: Any | None, deadline: Deadline) -> Readings:
        if call is None:
            raise Unavailable("the member is gone")
        readings: Readings = wire.load(get(call, min(deadline.remaining_s(), ATTEMPT_S)))
        return readings

    def _value(self, key: str, reading: Reading, visit: Visit, deadline: Deadline, copy: bool) -> Any:
        if reading.arrays is not None:
            buffers = views(reading.arrays)
        else:
            try:
                if reading.ref is None:
                    buffers = _buffers_of_file(Path(reading.path), key, reading.version)
                else:
                    buffers = fetch(reading.ref, min(deadline.remaining_s(), DEAD_REFERENCE_S))
            except (Unavailable, DeadlineExceeded):
                # The owner of the reference is gone, or the file; the actor still has the bytes, or knows.
                actor = self._connection.tier_actor(visit.member, deadline)
                if actor is None:
                    raise Unavailable(f"{key!r} was on a node that is gone") from None
                request = wire.dump(ReadMany(visit.incarnation, (key,), (reading.version,), ""))
                answer = get(actor.read.remote(request), min(deadline.remaining_s(), ATTEMPT_S))
                again = wire.load(answer).others.get(0)
                if again is not None and again.state is ReadState.CORRUPT:
                    raise CorruptData(again.message) from None
                if again is None or again.arrays is None:
                    raise Unavailable(f"{key!r} was moved while it was read") from None
                buffers = views(again.arrays)
        return decode(reading.header, buffers, allow_pickle=True, writable=copy)


def _buffers_of_file(path: Path, key: str, version: Version) -> tuple[memoryview, ...]:
    """The buffers of a value that lies in a file on this node, mapped and verified by this process.

    Raises `Unavailable` where this process does not find it there as it should be: it was overwritten or
    deleted meanwhile, it is damaged, or this is another user or another container.
    """
    from ..tiers.cold import read_value

    try:
        blob = read_value(path)
    except (OSError, MemoriesError) as error:
        raise Unavailable(f"{path.name} cannot be read here: {error}") from error
    if (blob.record.key, blob.record.version) != (key, version):
        raise Unavailable(f"{path.name} is another value here than where it was stored")
    return blob.buffers
