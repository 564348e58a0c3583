"""`Exchange`: how a tier actor gets values from another one, for moves and repairs.

They come as the other actor's return values: those belong to whoever called, so they stay, whoever dies.
Small values come together in one answer, and are copied out of it; each large one is an answer by itself.
So no value keeps others alive in the object store, and what is held is what is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from ..tiers.blobs import Blob
from ..tiers.checksum import checksum
from ..tiers.memory_blobs import owned
from ..tiers.record import Record
from .core import commands as cmd
from .core import tier as core
from .core.model import MemberId, Outcome
from .own_loop import within
from .parcel import INLINE_BYTES, views

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One value that has come, verified; `ref` leads to its bytes, where it came by itself."""

    record: Record
    blob: Blob
    ref: ray.ObjectRef[Any] | None


class Exchange:
    """Belongs to the actor's event loop."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._names: dict[MemberId, str] = {}
        self._sources: dict[MemberId, Any] = {}

    def note_name(self, member: MemberId, name: str) -> None:
        """The actor of a member is called so."""
        if self._names.get(member) != name:
            self._names[member] = name
            self._sources.pop(member, None)

    async def fetch(
        self, command: cmd.CopyMany
    ) -> tuple[tuple[core.Slot | Outcome, ...], list[Received | None]]:
        """The slots at the source, or why there is none, and the values, by position."""
        count = len(command.keys)
        nothing: list[Received | None] = [None] * count
        source = await self._source(command.source)
        if source is None:
            return (Outcome.UNAVAILABLE,) * count, nothing
        apart = tuple(i for i, size in enumerate(command.sizes) if size >= INLINE_BYTES)
        method = source.hand_over.options(num_returns=1 + len(apart))
        answers = method.remote(command.source_incarnation, command.keys, command.versions, apart)
        together, *by_itself = answers if apart else [answers]
        refs = dict(zip(apart, by_itself, strict=True))
        try:
            handed = await within(together, FETCH_TIMEOUT_S)
            slots, received = [], nothing
            for i, found in enumerate(handed):
                slot, received[i] = await self._receive(found, refs.get(i))
                slots.append(slot)
        except (ray.exceptions.RayError, TimeoutError) as error:
            self._sources.pop(command.source, None)
            log.warning("fetching %d keys from %s failed: %s", count, command.source, type(error).__name__)
            return (Outcome.UNAVAILABLE,) * count, [None] * count
        return tuple(slots), received

    async def _receive(
        self, found: Any, ref: ray.ObjectRef[Any] | None
    ) -> tuple[core.Slot | Outcome, Received | None]:
        if isinstance(found, Outcome):
            return found, None
        slot, record, arrays = found
        if ref is None:
            buffers = tuple(owned(view) for view in views(arrays))
            good = _verified(record, buffers)
        else:
            buffers = views(await within(ref, FETCH_TIMEOUT_S))
            good = await asyncio.to_thread(_verified, record, buffers)
        if record.checksums and not good:
            return Outcome.CORRUPT, None
        return slot, Received(record, Blob(record, buffers), ref)

    async def _source(self, member: MemberId) -> Any | None:
        if member not in self._sources and member in self._names:
            with contextlib.suppress(ValueError, ray.exceptions.RayError):
                self._sources[member] = await asyncio.to_thread(
                    ray.get_actor, self._names[member], self._namespace
                )
        return self._sources.get(member)


def answers_apart(handed: list[Any], apart: Sequence[int]) -> Any:
    """What `hand_over` returns: everything in one list, or that list and the bytes of some by themselves."""
    if not apart:
        return handed
    by_itself: list[Any] = []
    for i in apart:
        found = handed[i]
        if isinstance(found, Outcome):
            by_itself.append([])
        else:
            slot, record, arrays = found
            handed[i] = (slot, record, [])
            by_itself.append(arrays)
    return (handed, *by_itself)


def _verified(record: Record, buffers: Sequence[memoryview]) -> bool:
    return tuple(checksum(buffer) for buffer in buffers) == tuple(record.checksums)
