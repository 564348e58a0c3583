"""Having a member forget versions of keys, without what it knew about older ones being forgotten with them.

A copy that is taken back, or a leftover, may have taken the place of a mark that says that something older
is outdone; or be itself the only thing on stable storage that says so, while a disk with something older is
away. There the version gives way to a mark of what the catalog has, and only elsewhere to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .commands import DropMany, MarkMany, MemberCommand
from .model import Kind, MemberId, Version

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


def withdrawals(
    core: CoordinatorCore, member: MemberId, items: Iterable[tuple[str, Version]]
) -> Iterator[MemberCommand]:
    """The commands by which the member forgets these versions of these keys, where it has them.

    Each is to be sent before the next is taken.
    """
    entries = core.catalog.entries
    dropped: list[tuple[str, Version]] = []
    marked: dict[tuple[Kind, Version, Version], list[str]] = {}
    for key, version in dict.fromkeys(items):
        if _leaves_a_mark(core, member, key):
            entry = entries[key]
            kind = Kind.TOMBSTONE if entry.kind is Kind.TOMBSTONE else Kind.SUPERSEDED
            marked.setdefault((kind, entry.version, version), []).append(key)
        else:
            dropped.append((key, version))
    if dropped:
        keys, versions = zip(*dropped, strict=True)
        yield DropMany(core.outbox.fence(member), keys, versions, exact=True)
    for (kind, present, withdrawn), rest in marked.items():
        clients = {key: entries[key].clients for key in rest}
        fence = core.outbox.fence(member)
        yield MarkMany(fence, kind, present, tuple(rest), clients, withdrawn=withdrawn)


def _leaves_a_mark(core: CoordinatorCore, member: MemberId, key: str) -> bool:
    entry = core.catalog.entries.get(key)
    if entry is None:
        return False
    if member in entry.marks:
        return True
    return (
        bool(core.doubts.dark)
        and entry.kind is not Kind.TOMBSTONE  # which has marks enough
        and key not in core.doubts.undecided  # nobody knows yet which version is the last word
        and core.placement.durable((member,))
        and core.doubts.may_be_away((key,))
    )
