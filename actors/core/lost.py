"""`LostMarks`: writing down that a value was lost, so that not even a new coordinator calls it absent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .commands import MarkMany, MemberCommand
from .events import Done
from .model import Kind, MemberId, Outcome, Version
from .outbox import Answer

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


class LostMarks:
    """Puts "superseded" marks of lost values on stable storage, as far as there is any."""

    def __init__(self, core: CoordinatorCore, member: MemberId, keys: tuple[str, ...], version: Version):
        self._core = core
        self._member = member
        self._keys = keys
        self._version = version

    @classmethod
    def write(cls, core: CoordinatorCore, keys: Iterable[str]) -> None:
        """Mark these keys, of which the catalog says that they are lost."""
        by_version: dict[Version, list[str]] = {}
        for key in keys:
            by_version.setdefault(core.catalog.entries[key].version, []).append(key)
        for member in core.placement.witnesses(())[: core.config.marks]:
            for version, lost in by_version.items():
                cls(core, member, tuple(lost), version).start()

    def start(self) -> None:
        core = self._core
        clients = {key: core.catalog.entries[key].clients for key in self._keys}
        for key in self._keys:
            core.add_uncertain(key, self._member)
        fence = core.outbox.fence(self._member)
        core.outbox.send(MarkMany(fence, Kind.SUPERSEDED, self._version, self._keys, clients), self)

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        core = self._core
        orphans = []
        outcomes = answer.outcomes if isinstance(answer, Done) else None
        for row, key in enumerate(self._keys):
            core.remove_uncertain(key, self._member)
            if answer is None or (outcomes is not None and outcomes[row] is not Outcome.OK):
                continue
            if key in core.catalog.entries:
                core.catalog.add_mark(key, self._member)
            else:
                orphans.append((key, self._version))
        core.transfers.remove(self._member, orphans)
