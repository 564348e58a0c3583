"""`Inventory`: all that a member keeps, as columns, so that a million keys travel in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .model import Clients

if TYPE_CHECKING:
    from .slot_table import Slot

Int64 = npt.NDArray[np.int64]


def _no_rows() -> Int64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Inventory:
    """Row i of every column describes `keys[i]`.

    `client_rows`, `client_names` and `client_sequences` are the high-water marks of all keys: one row for
    each (key, client), sorted by key; `client_rows` indexes `keys`, `client_names` indexes `names`.
    `expires_s` is NaN where a key has no time to live.
    """

    keys: list[str]
    epochs: Int64
    sequences: Int64
    kinds: npt.NDArray[np.int8]
    sizes: Int64
    replicas: npt.NDArray[np.int16]
    durable: npt.NDArray[np.bool_]
    pinned: npt.NDArray[np.bool_]
    priorities: npt.NDArray[np.float64]
    expires_s: npt.NDArray[np.float64]
    names: tuple[str, ...] = ()
    client_rows: Int64 = field(default_factory=_no_rows)
    client_names: Int64 = field(default_factory=_no_rows)
    client_sequences: Int64 = field(default_factory=_no_rows)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Sequence[int]) -> Inventory:
        """Only these rows, in this order."""
        chosen = np.array(rows, np.int64)
        place = np.full(len(self.keys), -1, np.int64)
        place[chosen] = np.arange(len(rows))
        moved = place[self.client_rows] if len(self.keys) else self.client_rows
        order = np.argsort(moved, kind="stable")
        order = order[moved[order] >= 0]
        return Inventory(
            keys=[self.keys[row] for row in rows],
            epochs=self.epochs[chosen],
            sequences=self.sequences[chosen],
            kinds=self.kinds[chosen],
            sizes=self.sizes[chosen],
            replicas=self.replicas[chosen],
            durable=self.durable[chosen],
            pinned=self.pinned[chosen],
            priorities=self.priorities[chosen],
            expires_s=self.expires_s[chosen],
            names=self.names,
            client_rows=moved[order],
            client_names=self.client_names[order],
            client_sequences=self.client_sequences[order],
        )

    def clients(self) -> Iterator[Clients]:
        """The high-water marks of each key, in the order of the keys."""
        names = self.names
        pairs: list[tuple[str, int]] = []
        pair = ("", -1)
        last = -1
        for name, sequence in zip(self.client_names.tolist(), self.client_sequences.tolist(), strict=True):
            if sequence != pair[1] or name != last:
                pair, last = (names[name], sequence), name  # else of the same request as its neighbour
            pairs.append(pair)
        counts = np.bincount(self.client_rows, minlength=len(self.keys)) if pairs else None
        if counts is None:
            yield from (() for _ in self.keys)
        elif len(pairs) == len(self.keys) and bool((counts == 1).all()):
            only: Clients = ()
            for pair in pairs:  # what nearly every inventory looks like
                if not only or only[0] is not pair:
                    only = (pair,)
                yield only
        else:
            end = 0
            for count in counts.tolist():
                start, end = end, end + count
                yield tuple(pairs[start:end])


def _replicas_of(slots: Sequence[Slot]) -> npt.NDArray[np.int16]:
    wanted = map(attrgetter("replicas"), slots)
    try:
        return np.fromiter(wanted, np.int16, len(slots))
    except OverflowError:  # written when any number was taken: as many as there are nodes is what it means
        most = np.iinfo(np.int16).max
        return np.fromiter((min(slot.replicas, most) for slot in slots), np.int16, len(slots))


def inventory_of(keys: list[str], slots: Sequence[Slot]) -> Inventory:
    """The columns for these keys and what is kept under them."""
    count = len(keys)
    names: dict[str, int] = {}
    rows: list[int] = []
    clients: list[int] = []
    sequences: list[int] = []
    for row, marks in enumerate(map(attrgetter("clients"), slots)):
        for name, sequence in marks:
            rows.append(row)
            clients.append(names.setdefault(name, len(names)))
            sequences.append(sequence)
    versions = list(map(attrgetter("version"), slots))
    expiries = map(attrgetter("expires_s"), slots)
    return Inventory(
        keys=keys,
        epochs=np.fromiter(map(itemgetter(0), versions), np.int64, count),
        sequences=np.fromiter(map(itemgetter(1), versions), np.int64, count),
        kinds=np.fromiter(map(attrgetter("kind"), slots), np.int8, count),
        sizes=np.fromiter(map(attrgetter("nbytes"), slots), np.int64, count),
        replicas=_replicas_of(slots),
        durable=np.fromiter(map(attrgetter("durable"), slots), np.bool_, count),
        pinned=np.fromiter(map(attrgetter("pinned"), slots), np.bool_, count),
        priorities=np.fromiter(map(attrgetter("priority"), slots), np.float64, count),
        expires_s=np.fromiter((np.nan if s is None else s for s in expiries), np.float64, count),
        names=tuple(names),
        client_rows=np.array(rows, np.int64),
        client_names=np.array(clients, np.int64),
        client_sequences=np.array(sequences, np.int64),
    )
