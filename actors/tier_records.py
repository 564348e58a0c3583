"""What the core of a tier knows of a key (`Slot`) and what its blob says of itself (`Record`)."""

from __future__ import annotations

import time

from ..tiers.record import Record
from .core.model import Kind
from .core.tier import Slot


def record_of(key: str, slot: Slot, base: Record | None) -> Record:
    """The record of a slot, with the parts that only the bytes know from `base`."""
    known = base if base is not None else Record(key=key, created_s=time.time())
    return known.replace(
        key=key,
        version=slot.version,
        clients=dict(slot.clients),
        replicas=slot.replicas,
        durable=slot.durable,
        pinned=slot.pinned,
        priority=slot.priority,
        expires_s=slot.expires_s,
        tombstone=slot.kind is Kind.TOMBSTONE,
        superseded=slot.kind is Kind.SUPERSEDED,
    )


def slot_of(record: Record) -> Slot:
    """The slot of what a medium still holds. Its stamp is older than every command of this life."""
    kind = Kind.TOMBSTONE if record.tombstone else Kind.SUPERSEDED if record.superseded else Kind.VALUE
    return Slot(
        record.version,
        kind,
        record.nbytes if kind is Kind.VALUE else 0,
        tuple(record.clients.items()),
        0,
        record.replicas,
        record.durable,
        record.pinned,
        record.priority,
        record.expires_s,
    )


def stands(record: Record | None, slot: Slot) -> bool:
    """Whether what a medium holds is of this version, and a value or a mark as the slot says."""
    if record is None:
        return False
    there = slot_of(record)
    return (there.version, there.kind) == (slot.version, slot.kind)
