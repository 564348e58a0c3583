"""`TierActor`: one tier on one node. All decisions are in `actors.core.tier`; this shell does the I/O.

Durable when a command is answered: for cold and glacier everything, fsynced; for hot and warm nothing,
which is why the coordinator keeps as many copies as a value asks for. Idempotent: every command, by its
stamp. Lost at a restart: what hot and warm held; cold and glacier find theirs again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ray.exceptions import RayError

from ..errors import CapacityExceeded, MemoriesError, StorageFull
from ..tiers.blobs import Blob
from ..tiers.checksum import checksum
from ..tiers.cold import ColdBlobs
from ..tiers.encoded import Selection
from ..tiers.query import MetadataIndex
from ..tiers.record import Record, Version
from . import logs, wire
from .config import ClusterConfig
from .core import commands as cmd
from .core import tier as core
from .core.events import Done, InventoryReported
from .core.model import Clients, Kind, MemberInfo, Outcome, Refusal
from .exchange import FETCH_TIMEOUT_S, Exchange, Received, answers_apart
from .host import report_host
from .own_loop import answer_of, outside
from .parcel import Bytes, Parcel, split, views
from .readings import Reading, Readings, ReadMany
from .reports import HostReport
from .shared_blobs import SharedBlobs
from .tier_media import Medium, open_medium
from .tier_reading import TierReading
from .tier_records import record_of, slot_of, stands

log = logging.getLogger(__name__)

T = TypeVar("T")
INLINE_WRITE_BYTES = 1 << 20
"""Up to this much a memory tier writes on its event loop; more, or to a disk, goes to a thread. Shared memory
is not written to at all: its bytes are there already, whatever their number."""


class TierActor:
    """Keeps blobs, and tells a reader on its own node where they are in shared memory."""

    def __init__(
        self, cluster: str, namespace: str, node: str, tier: str, index: int, config: ClusterConfig
    ) -> None:
        logs.set_up(cluster, f"{node}/{tier}{index}", config.log_format, config.log_level)
        self._cluster, self._namespace, self._node = cluster, namespace, node
        self._medium: Medium = open_medium(cluster, node, tier, index, config)
        self._blobs = self._medium.blobs
        info = MemberInfo(
            member=self._medium.member,
            node=node,
            tier=tier,
            incarnation=time.time_ns(),
            durable=self._blobs.durable,
            capacity_bytes=self._medium.capacity_bytes,
            highest_epoch=self._medium.epoch,
        )
        self._metadata = MetadataIndex()
        self._core = core.TierCore(info, self._recover())
        self._reading = TierReading(self._core, self._blobs, node)
        self._answers: dict[int, asyncio.Future[Done | InventoryReported]] = {}
        self._fetched: dict[int, list[Received | None]] = {}
        self._exchange = Exchange(namespace)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.reads = 0
        self.writes = 0

    # -- what the coordinator calls ---------------------------------------------------------------------

    async def hello(self, detailed: bool) -> tuple[MemberInfo, HostReport | None]:
        """Who this is, in this life; and how its machine is, where somebody wants to know."""
        report = report_host(self._medium.folder, self.reads, self.writes) if detailed else None
        return self._core.info, report

    async def execute(
        self, message: bytes | cmd.MemberCommand, source: str | None = None
    ) -> bytes | InventoryReported:
        """Carry out a command and say what became of it. Repeating it changes nothing.

        Both as `wire` makes them. `source`: the name of the actor from which to copy, if that is the command.
        """
        command: cmd.MemberCommand = wire.load(message)
        if command.fence.epoch > self._core.epoch and self._medium.disk is not None:
            await outside(self._medium.disk.raise_epoch, command.fence.epoch)
        fence = command.fence
        if fence.stamp in self._answers:
            # Whoever waited here as well would hold a thread, and a slow disk all of them.
            running: bytes = wire.dump(
                Done(fence.member, fence.incarnation, fence.stamp, refusal=Refusal.RUNNING)
            )
            return running
        future = self._answers[fence.stamp] = asyncio.get_running_loop().create_future()
        if isinstance(command, cmd.CopyMany) and source is not None:
            self._exchange.note_name(command.source, source)
        await self._act(self._core.handle(command))
        answer = await future
        if isinstance(answer, InventoryReported):
            return answer  # large columns, which Ray moves without a copy
        done: bytes = wire.dump(answer)
        return done

    async def order(self, command: cmd.ResetMember | cmd.Quarantine) -> None:
        """Begin a new life, or put the disk aside."""
        if isinstance(command, cmd.ResetMember):
            await self._act(self._core.reset(command, time.time_ns()))
        elif command.incarnation == self._core.info.incarnation and self._medium.disk is not None:
            log.warning("the disk of %s was given up; it is put aside", self._core.info.member)
            await outside(self._medium.quarantine)
            os._exit(1)  # Ray starts this actor again, which then takes a new disk

    async def close(self, delete: bool) -> None:
        """Release the medium; with `delete`, remove what is on it."""
        await outside(self._medium.close, delete)

    # -- what readers call --------------------------------------------------------------------------------

    async def read(self, message: bytes) -> bytes | Readings:
        """The values of keys, each in exactly the version that the reader was sent for; see `ReadMany`."""
        request: ReadMany = wire.load(message)
        if self._medium.in_memory or request.is_guess:
            found = self._reading.read_all(request)
        else:
            found = await outside(self._reading.read_all, request)
        self.reads += sum(map(bool, map(any, found.versions))) if request.is_guess else len(request.keys)
        answer: bytes | Readings = wire.dump(found)
        return answer

    async def read_part(self, incarnation: int, key: str, version: Version, selection: Selection) -> Reading:
        """Some bytes of one value."""
        self.reads += 1
        return await outside(self._reading.read_part, incarnation, key, Version(*version), selection)

    async def headers(self, incarnation: int, key: str, version: Version) -> Record | None:
        """What is said of a value, without its bytes."""
        return await outside(self._reading.whole_record, incarnation, key, Version(*version))

    async def query(
        self, metadata_filter: Mapping[str, Any], sort: Any, limit: int | None
    ) -> list[tuple[str, Version, Mapping[str, Any]]]:
        """Keys of this tier whose metadata match, with the version in which they do; sorted where asked."""
        slots = self._core.slots
        found = self._metadata.query(metadata_filter, sort=sort, limit=limit)
        return [
            (key, slots[key].version, self._metadata.get(key) if sort else {})
            for key in found
            if key in slots and slots[key].kind is Kind.VALUE
        ]

    async def metadata_of(self, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What is said of keys of this tier; those that are not here are left out."""
        return {key: self._metadata.get(key) for key in keys if key in self._metadata}

    async def compress(self, method: str, level: int | None) -> tuple[int, int]:
        """Write every value anew with this compression; the bytes used before and after."""
        blobs = self._blobs
        before = blobs.used_bytes
        if isinstance(blobs, ColdBlobs):
            for key in list(self._core.slots):
                if self._core.hold(key):
                    try:
                        await outside(_recompress, blobs, key, method, level)
                    finally:
                        await self._act(self._core.release(key))
        return before, blobs.used_bytes

    # -- the core and its actions ---------------------------------------------------------------------------

    async def _act(self, actions: Sequence[core.Action]) -> None:
        for action in actions:
            match action:
                case core.Respond():
                    self._respond(action.answer)
                case core.Write():
                    outcomes = await self._put(action)
                    await self._act(self._core.handle(core.Written(action.ticket, outcomes)))
                case core.Erase():
                    outcomes = await self._on_medium(0, self._erase, action)
                    await self._act(self._core.handle(core.Written(action.ticket, outcomes)))
                case core.Fetch():
                    slots, received = await self._exchange.fetch(action.command)
                    self._fetched[action.command.fence.stamp] = received
                    await self._act(self._core.handle(core.Fetched(action.ticket, slots)))
                case core.Wipe():
                    self._blobs.clear()
                    self._metadata = MetadataIndex()
                case core.AnnounceMember():
                    pass  # the coordinator's watch greets us twice a second

    def _respond(self, answer: Done | InventoryReported) -> None:
        if not self._core.is_running(answer.stamp):  # else only a repetition was refused
            self._fetched.pop(answer.stamp, None)
        future = self._answers.pop(answer.stamp, None)
        if future is not None and not future.done():
            future.set_result(answer)

    async def _put(self, action: core.Write) -> tuple[Outcome, ...] | None:
        stamp = action.command.fence.stamp
        blobs: list[Blob | None] = []
        try:
            if self._core.is_running(stamp):
                blobs = await self._blobs_of(action)
        except (RayError, TimeoutError) as error:
            # The writer is gone, and with it what it sent. Others may be waiting for these keys.
            log.warning("the bytes of %d keys did not come: %s", len(action.keys), type(error).__name__)
            return (Outcome.ERROR,) * len(action.keys)
        except Exception:
            log.exception("the bytes could not be taken in", extra=self._about(action))
            return (Outcome.ERROR,) * len(action.keys)
        if not self._core.is_running(stamp):  # it was for a life that has ended: everything is wiped
            return (Outcome.ERROR,) * len(action.keys)
        return await self._on_medium(self._nbytes(action), self._write, action, blobs)

    async def _on_medium(self, nbytes: int, function: Callable[..., T], *arguments: Any) -> T:
        if self._medium.in_memory and (nbytes <= INLINE_WRITE_BYTES or isinstance(self._blobs, SharedBlobs)):
            return function(*arguments)
        return await outside(function, *arguments)

    def _nbytes(self, action: core.Write) -> int:
        return sum(slot.nbytes for slot in action.slots)

    async def _blobs_of(self, action: core.Write) -> list[Blob | None]:
        """The blobs to be written; None where only the record changes."""
        command = action.command
        if isinstance(command, cmd.PutMany):
            return await self._unpack(action, command)
        blobs: list[Blob | None] = []
        for row, key, slot in zip(action.rows, action.keys, action.slots, strict=True):
            if isinstance(command, cmd.CopyMany):
                found = self._fetched[command.fence.stamp][row]
                assert found is not None
                if found.ref is not None and isinstance(self._blobs, SharedBlobs):
                    self._blobs.note_ref(key, slot.version, found.ref)
                blobs.append(Blob(record_of(key, slot, found.record), found.blob.buffers))
            elif isinstance(command, cmd.MarkMany):
                blobs.append(Blob(record_of(key, slot, None)))
            else:
                blobs.append(None)
        return blobs

    async def _unpack(self, action: core.Write, command: cmd.PutMany) -> list[Blob | None]:
        """The blobs of a put. Rows of one request share what is alike in them."""
        parcel: Parcel = command.payload
        slab: bytes | Bytes
        if isinstance(parcel.slab, bytes):
            slab = parcel.slab
        else:
            slab = await answer_of(parcel.slab, FETCH_TIMEOUT_S)
        positions = action.rows if command.rows is None else [command.rows[row] for row in action.rows]
        now_s = time.time()
        clients: dict[Clients, Mapping[str, int]] = {}
        shared = self._blobs if isinstance(self._blobs, SharedBlobs) else None
        blobs: list[Blob | None] = []
        for key, slot, packed in zip(action.keys, action.slots, parcel.opened(slab, positions), strict=True):
            if packed.ref is None:
                assert packed.inline is not None
                buffers = split(packed.inline, packed.lengths)
            else:
                buffers = views(await answer_of(packed.ref, FETCH_TIMEOUT_S))
                if shared is not None:
                    shared.note_ref(key, slot.version, packed.ref)
            marks = clients.get(slot.clients)
            if marks is None:
                marks = clients[slot.clients] = dict(slot.clients)
            record = Record(
                key=key,
                header=packed.header,
                lengths=packed.lengths,
                has_pickle=packed.has_pickle,
                version=slot.version,
                created_s=now_s,
                metadata=packed.metadata,
                priority=slot.priority,
                expires_s=slot.expires_s,
                pinned=slot.pinned,
                replicas=slot.replicas,
                durable=slot.durable,
                clients=marks,
            )
            blobs.append(Blob(record, buffers))
        return blobs

    def _write(self, action: core.Write, blobs: Sequence[Blob | None]) -> tuple[Outcome, ...] | None:
        self.writes += len(blobs)
        whole = [self._with_checksums(blob) for blob in blobs if blob is not None]
        try:
            if isinstance(action.command, cmd.MarkMany) and not self._blobs.durable:
                self._blobs.remove_many(action.keys)  # the core's slots remember the marks of this life
            elif whole:
                self._blobs.put_many(whole)
            for key, slot, blob in zip(action.keys, action.slots, blobs, strict=True):
                if blob is None:
                    old = self._blobs.record(key)
                    if old is not None:
                        self._blobs.update(record_of(key, slot, old))
        except (StorageFull, CapacityExceeded) as error:
            log.warning("full: %s", error, extra=self._about(action))
            # A value may go elsewhere; marks, and changes of what is here, are asked for until they stand.
            is_value = isinstance(action.command, cmd.PutMany | cmd.CopyMany)
            return self._outcomes_after_failure(action, Outcome.FULL if is_value else Outcome.ERROR)
        except Exception:  # whatever it is: who is not answered asks again for ever
            log.exception("a write failed", extra=self._about(action))
            return self._outcomes_after_failure(action, Outcome.ERROR)
        for key, slot in zip(action.keys, action.slots, strict=True):
            record = self._blobs.record(key)
            if slot.kind is Kind.VALUE and record is not None:
                self._index(record)
            else:
                self._metadata.remove(key)
        return None

    def _index(self, record: Record) -> None:
        """Let queries find a record; one that they cannot hold is left out, and must not stop the others."""
        try:
            self._metadata.set(record.key, record.metadata)
        except MemoriesError as error:
            self._metadata.remove(record.key)
            log.warning("%r is left out of queries: its metadata cannot be indexed: %s", record.key, error)

    def _about(self, action: core.Write) -> dict[str, Any]:
        """What a log entry says of a write: its first key, the version, and the request if any."""
        slot = action.slots[0]
        request = getattr(action.command, "request", None)
        return {
            "member": self._core.info.member,
            "key": action.keys[0],
            "keys": len(action.keys),
            "version": logs.version_text(slot.version),
            "request": None if request is None else f"{request[0]}/{request[1]}",
        }

    def _outcomes_after_failure(self, action: core.Write, outcome: Outcome) -> tuple[Outcome, ...]:
        """`put_many` may have stored some, each whole: look which. Changes are made again."""
        if isinstance(action.command, cmd.UpdateMany):
            return (outcome,) * len(action.keys)
        return tuple(
            Outcome.OK if stands(self._blobs.record(key), slot) else outcome
            for key, slot in zip(action.keys, action.slots, strict=True)
        )

    def _with_checksums(self, blob: Blob) -> Blob:
        """Durable tiers check what they write, the disk's while it works; memory tiers do when bytes move."""
        record = blob.record
        if record.checksums or not self._blobs.durable or isinstance(self._blobs, ColdBlobs):
            return blob
        return Blob(record.replace(checksums=tuple(checksum(b) for b in blob.buffers)), blob.buffers)

    def _erase(self, action: core.Erase) -> tuple[Outcome, ...] | None:
        try:
            self._blobs.remove_many(action.keys)
        except (MemoriesError, OSError):
            about = {"key": action.keys[0], "keys": len(action.keys), "member": self._core.info.member}
            log.exception("an erase failed", extra=about)
            return tuple(
                Outcome.ERROR if self._blobs.record(key) is not None else Outcome.OK for key in action.keys
            )
        for key in action.keys:
            self._metadata.remove(key)
        return None

    async def hand_over(
        self,
        incarnation: int,
        keys: Sequence[str],
        versions: Sequence[Version],
        apart: Sequence[int] = (),
    ) -> Any:
        """Values for another tier actor: slot, record and bytes of each, or why not. The bytes of those at
        the positions `apart` are returned after the list, each by itself."""
        handed = await outside(self._reading.hand_over, incarnation, keys, versions)
        return answers_apart(handed, apart)

    async def held_bytes(self) -> int:
        """The bytes of the values that are here, as the medium itself counts them."""
        return self._blobs.used_bytes

    def _recover(self) -> dict[str, core.Slot]:
        """The slots of what the medium still holds."""
        slots = {}
        for record in self._blobs.records():
            slot = slots[record.key] = slot_of(record)
            if slot.kind is Kind.VALUE:
                self._index(record)
        return slots


def _recompress(blobs: ColdBlobs, key: str, method: str, level: int | None) -> None:
    blobs.put_compressed([blobs.get(key)], method, level)
