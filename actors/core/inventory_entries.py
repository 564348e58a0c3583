"""What the rows of an inventory say: entries for a catalog, or that the catalog says so already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .catalog import Entry
from .inventory import Inventory
from .model import Kind, MemberId, StoreOptions, Version


def compare(found: Sequence[Entry | None], inventory: Inventory) -> tuple[list[Entry], list[int]]:
    """Of the rows whose key is known (in `found`): the entries that say the same, and all other rows."""
    value = Kind.VALUE
    copies, others = [], []
    rows = zip(
        found,
        inventory.epochs.tolist(),
        inventory.sequences.tolist(),
        inventory.kinds.tolist(),
        inventory.clients(),
        strict=True,
    )
    for row, (known, epoch, sequence, kind, clients) in enumerate(rows):
        if known is None:
            continue
        if (
            known.kind is value
            and kind == value
            and known.version == (epoch, sequence)
            and known.clients == clients
        ):
            copies.append(known)
        else:
            others.append(row)
    return copies, others


def entries_at(member: MemberId, inventory: Inventory) -> list[Entry]:
    """What a member keeps, as if nobody else had it."""
    made = entries_of(inventory)
    value, there = Kind.VALUE, (member,)
    for entry in made:
        if entry.kind is value:
            entry.holders = there
        else:
            entry.marks = there
    return made


def entries_of(inventory: Inventory) -> list[Entry]:
    """One entry for each row, without holders and marks. Neighbours were often stored together and asked
    for the same, so they share their version, their size and their options."""
    kinds = [Kind(kind) for kind in range(len(Kind))]
    wanted, options = _options_of(inventory)
    version, size = Version(-1, -1), -1
    entries = []
    for key, epoch, sequence, kind, nbytes, which, clients in zip(
        inventory.keys,
        inventory.epochs.tolist(),
        inventory.sequences.tolist(),
        inventory.kinds.tolist(),
        inventory.sizes.tolist(),
        wanted,
        inventory.clients(),
        strict=True,
    ):
        if sequence != version[1] or epoch != version[0]:
            version = Version(epoch, sequence)
        if nbytes != size:
            size = nbytes
        entries.append(Entry(version, kinds[kind], size, clients, options[which], key=key))
    return entries


def _options_of(inventory: Inventory) -> tuple[list[int], list[StoreOptions]]:
    """The distinct options of the rows, and which of them each row has."""
    columns = np.column_stack(
        (
            inventory.replicas.astype(np.float64),
            inventory.durable.astype(np.float64),
            inventory.pinned.astype(np.float64),
            inventory.priorities,
            inventory.expires_s,
        )
    )
    if len(columns) == 0:
        return [], []
    # Runs of equal rows (NaN, for no time to live, is equal to itself); alike runs share their options.
    same = (columns[1:] == columns[:-1]) | (np.isnan(columns[1:]) & np.isnan(columns[:-1]))
    starts = np.concatenate(([True], ~same.all(axis=1)))
    made: dict[tuple[float | None, ...], int] = {}
    options: list[StoreOptions] = []
    of_runs = []
    for replicas, durable, pinned, priority, expires_s in columns[starts].tolist():
        row = (replicas, durable, pinned, priority, expires_s if expires_s == expires_s else None)
        if row not in made:
            made[row] = len(options)
            options.append(
                StoreOptions(
                    replicas=int(replicas),
                    durable=bool(durable),
                    pinned=bool(pinned),
                    priority=priority,
                    expires_s=row[4],
                )
            )
        of_runs.append(made[row])
    which: list[int] = np.array(of_runs, np.int64)[np.cumsum(starts) - 1].tolist()
    return which, options
