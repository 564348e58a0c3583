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
        core = self._core
        orphans = []
        outcomes = answer.outcomes if isinstance(answer, Done) else None
        for row, key in enumerate(self._keys):
            core.doubts.remove_uncertain(key, self._member)
            if answer is None or (outcomes is not None and outcomes[row] is not Outcome.OK):
                continue
            if key in core.catalog.entries:
                core.catalog.add_mark(key, self._member)
            else:
                orphans.append((key, self._version))
        core.transfers.remove(self._member, orphans)
