"""`Inventory`: all that one location holds, as columns, so that a million keys are one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidValue
from .record import Record

Clients = tuple[tuple[str, int], ...]
"""The highest request sequence of each client that a key has seen."""


class Kind(IntEnum):
    """What is kept under a key."""

    VALUE = 0
    TOMBSTONE = 1
    """The key was deleted at this version."""
    SUPERSEDED = 2
    """A value of this version was written elsewhere; where it is nowhere, it was lost."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Inventory:
    """Row i of every column describes ``keys[i]``; each key is there once. ``expires_s`` is infinite
    where a key has no time to live. ``clients`` may be empty if there are none at all."""

    keys: Sequence[str]
    epochs: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    priorities: npt.NDArray[np.float64]
    pinned: npt.NDArray[np.bool_]
    expires_s: npt.NDArray[np.float64]
    created_s: npt.NDArray[np.float64]
    clients: Sequence[Clients] = ()

    def __post_init__(self) -> None:
        columns = (
            self.epochs,
            self.sequences,
            self.kinds,
            self.sizes,
            self.priorities,
            self.pinned,
            self.expires_s,
            self.created_s,
        )
        lengths = {len(column) for column in columns} | ({len(self.clients)} if self.clients else set())
        if lengths - {len(self.keys)}:
            raise InvalidValue(
                f"an inventory of {len(self.keys)} keys has columns of lengths {sorted(lengths)}"
            )
        if len(set(self.keys)) < len(self.keys):
            raise InvalidValue(
                f"an inventory names {len(self.keys)} keys of which {len(set(self.keys))} are distinct; "
                "a location has one record a key"
            )
        if len(self.keys) and (self.sizes.min() < 0 or np.isnan(self.priorities).any()):
            raise InvalidValue("an inventory has a negative size or a priority that is not a number")

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Inventory:
        """The inventory of these records."""
        rows = list(records)

        def column(values: Iterable[Any], dtype: type) -> npt.NDArray[Any]:
            return np.fromiter(values, dtype, len(rows))

        return cls(
            keys=[record.key for record in rows],
            epochs=column((record.version.epoch for record in rows), np.int64),
            sequences=column((record.version.sequence for record in rows), np.int64),
            kinds=column((kind_of(record) for record in rows), np.uint8),
            sizes=column((0 if record.tombstone else record.nbytes for record in rows), np.int64),
            priorities=column((record.priority for record in rows), np.float64),
            pinned=column((record.pinned for record in rows), np.bool_),
            expires_s=column(
                (np.inf if record.expires_s is None else record.expires_s for record in rows), np.float64
            ),
            created_s=column((record.created_s for record in rows), np.float64),
            clients=[tuple(record.clients.items()) for record in rows]
            if any(record.clients for record in rows)
            else (),
        )


def kind_of(record: Record) -> Kind:
    """What a record stands for."""
    if record.tombstone:
        return Kind.TOMBSTONE
    return Kind.SUPERSEDED if record.superseded else Kind.VALUE
