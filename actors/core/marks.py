"""`Marks`: writing down which version a key has reached, beside the value.

For a value that was lost, so that not even a new coordinator calls it absent; and for one that must
outrank what a disk that is away may bring back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .commands import MarkMany, MemberCommand
from .events import Done
from .model import Kind, MemberId, Outcome, Version
from .outbox import Answer

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


class Marks:
    """ "Superseded" marks for keys of one version, on their way to one member."""

    def __init__(self, core: CoordinatorCore, member: MemberId, keys: tuple[str, ...], version: Version):
        self._core = core
        self._member = member
        self._keys = keys
        self._version = version

    @classmethod
    def write(
        cls, core: CoordinatorCore, keys: Iterable[str], members: Sequence[MemberId] | None = None
    ) -> None:
        """Mark the version that the catalog has of these keys, at these members or wherever is durable."""
        by_version: dict[Version, list[str]] = {}
        for key in keys:
            by_version.setdefault(core.catalog.entries[key].version, []).append(key)
        if members is None:
            members = core.placement.witnesses((), core.config.marks)
        for member in members:
            for version, marked in by_version.items():
                cls(core, member, tuple(marked), version).start()

    def start(self) -> None:
        core = self._core
        clients = {key: core.catalog.entries[key].clients for key in self._keys}
        for key in self._keys:
            core.doubts.add_uncertain(key, self._member)
        fence = core.outbox.fence(self._member)
        core.outbox.send(MarkMany(fence, Kind.SUPERSEDED, self._version, self._keys, clients), self)

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        for key in self._keys:
            self._core.doubts.remove_uncertain(key, self._member)
        if isinstance(command, MarkMany) and answer is not None:
            note_marks(self._core, command, answer)


def note_marks(core: CoordinatorCore, command: MarkMany, answer: Answer) -> None:
    """The member has written these marks: let the catalog know, or have it forget those of no key of ours.

    Where the catalog has a newer version meanwhile, whoever stored that has cleared the member, or marked it.
    """
    member = command.fence.member
    outcomes = answer.outcomes if isinstance(answer, Done) else None
    orphans = []
    for row, key in enumerate(command.keys):
        if outcomes is not None and outcomes[row] is not Outcome.OK:
            continue
        entry = core.catalog.entries.get(key)
        if entry is None:
            orphans.append((key, command.version))
        elif entry.version == command.version and member not in entry.holders:
            core.catalog.add_mark(key, member)
    core.transfers.remove(member, orphans)
