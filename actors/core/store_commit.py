"""How stored values enter the catalog, and by which clients' requests their keys are known.

A key remembers the last request of each client that has changed it, in the catalog and beside every copy,
so that a repeated request can be told from a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from .catalog import Entry, merged
from .events import StoreMany
from .model import Clients, Kind, MemberId, RequestId, Version

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


def enter_values(
    core: CoordinatorCore,
    event: StoreMany,
    version: Version,
    keys: Sequence[str],
    sizes: Sequence[int],
    holders: tuple[MemberId, ...],
    marked: Collection[MemberId],
    dropped: Collection[MemberId],
) -> None:
    """From now on these keys have this version at `holders`; at `marked` stands that it exists, and at
    `dropped` nothing any more."""
    client, sequence = event.request
    catalog = core.catalog
    entries = catalog.entries
    limit = core.config.clients_per_key
    wanted = catalog.shared(event.options)
    expires_s = event.options.expires_s
    ours: Clients = (event.request,)
    new_marks = sorted(member for member in marked if member not in holders)
    now = core.clock()
    for key, size in zip(keys, sizes, strict=True):
        old = entries.get(key)
        marks: tuple[MemberId, ...] = ()
        if old is None:
            clients = ours
        else:
            clients = merged(old.clients, client, sequence, limit)
            if old.marks:
                gone = (*holders, *dropped)
                marks = tuple(member for member in old.marks if member not in gone)
        if new_marks:
            marks = (*marks, *(member for member in new_marks if member not in marks))
        entry = Entry(version, Kind.VALUE, size, clients, wanted, changed_s=now)
        catalog.put(key, entry, holders, marks)
        if expires_s is not None:
            core.expiries.add(key, expires_s)
    core.doubts.committed(keys)


def clients_of_others(core: CoordinatorCore, request: RequestId, keys: Collection[str]) -> dict[str, Clients]:
    """What those keys remember that other clients have changed before, this request included."""
    entries = core.catalog.entries
    if not entries:
        return {}
    client, sequence = request
    limit = core.config.clients_per_key
    found = {}
    for key in keys:
        entry = entries.get(key)
        if entry is not None and (
            len(entry.clients) > 1 or (entry.clients and entry.clients[0][0] != client)
        ):
            found[key] = merged(entry.clients, client, sequence, limit)
    return found


def clients_of_all(core: CoordinatorCore, request: RequestId, keys: Collection[str]) -> dict[str, Clients]:
    """What each of the keys remembers, this request included."""
    others = clients_of_others(core, request, keys)
    return {key: others.get(key, (request,)) for key in keys}
