"""`Transfer` and `Removal`: keys on their way to another member, and what must be dropped at one.

A transfer does not lock its keys, for a large copy must not hold up a writer. So when it ends, it looks
whether the version that it copied is still the one of the catalog. Only then does the copy count, and
only then may the source be deleted; otherwise the copy itself is removed. While a member may have
something of a key that the catalog does not list, the key is "uncertain" there, and whoever overwrites
or deletes the key clears that member too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .commands import Announce, CopyMany, MarkMany, MemberCommand
from .events import Done
from .marks import note_marks
from .model import MemberId, Outcome, Version
from .outbox import Answer
from .withdrawals import withdrawals

if TYPE_CHECKING:
    from .catalog import Entry
    from .coordinator import CoordinatorCore

Finished = Callable[[str, Outcome], None]


class Transfer:
    """One batch of copies from one member to another; a move where `move` is set."""

    def __init__(
        self,
        core: CoordinatorCore,
        source: MemberId,
        target: MemberId,
        what: str,
        *,
        move: bool,
        finished: Finished | None = None,
    ) -> None:
        self.core = core
        self.source = source
        self.target = target
        self.what = what
        self.move = move
        self.finished = finished
        self.keys: list[str] = []
        self.versions: list[Version] = []
        self.sizes: list[int] = []
        self.nbytes = 0
        self.outdated: set[str] = set()
        """Keys of which something has changed since the copy began."""
        core.transfers.traffic.begin(source, target)

    def add(self, key: str, entry: Entry) -> None:
        """Copy this key as well; before `start`, in the same event."""
        core = self.core
        core.placement.reserve(self.target, entry.nbytes)
        core.doubts.add_uncertain(key, self.target)
        core.transfers.copying[key] = self
        self.keys.append(key)
        self.versions.append(entry.version)
        self.sizes.append(entry.nbytes)
        self.nbytes += entry.nbytes

    def start(self) -> None:
        core = self.core
        core.outbox.send(
            CopyMany(
                core.outbox.fence(self.target),
                self.source,
                core.outbox.incarnation(self.source),
                tuple(self.keys),
                tuple(self.versions),
                tuple(self.sizes),
            ),
            self,
        )

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        core = self.core
        core.placement.reserve(self.target, -self.nbytes)
        core.transfers.check(core.transfers.traffic.end(self.source, self.target))
        outcomes: Sequence[Outcome] = (Outcome.UNAVAILABLE,) * len(self.keys)
        if isinstance(answer, Done):
            outcomes = answer.outcomes or (Outcome.OK,) * len(self.keys)
        copied, unwanted, replaced = [], [], []
        for key, version, outcome in zip(self.keys, self.versions, outcomes, strict=True):
            core.doubts.remove_uncertain(key, self.target)
            del core.transfers.copying[key]
            if outcome is Outcome.OK and (
                key in self.outdated or not core.transfers.still_current(key, version)
            ):
                unwanted.append((key, version))
                outcome = Outcome.STALE
            elif outcome is Outcome.OK:
                core.catalog.add_holder(key, self.target)
                core.transfers.refusals.forget(key)
                copied.append(key)
                if self.move and core.transfers.can_spare(key, self.source):
                    core.catalog.remove_holder(key, self.source)
                    replaced.append((key, core.catalog.entries[key].version))
            else:
                if not self.move and isinstance(answer, Done) and outcome is not Outcome.STALE:
                    core.transfers.refusals.add(key, self.source, self.target, outcome)
                if outcome in (Outcome.CORRUPT, Outcome.MISSING):
                    core.transfers.copy_is_bad(key, version, self.source, outcome)
            if self.finished is not None:
                self.finished(key, outcome)
        core.transfers.remove(self.target, unwanted)
        core.transfers.remove(self.source, replaced)
        if copied:
            kept = set(copied)
            nbytes = sum(size for key, size in zip(self.keys, self.sizes, strict=True) if key in kept)
            core.emit(Announce(self.what, self.target, tuple(copied), self.source, nbytes))
        core.transfers.check(self.keys)


class Removal:
    """Drop leftovers at one member, until it has confirmed or is lost. They are uncertain until then."""

    def __init__(self, core: CoordinatorCore, member: MemberId, items: Sequence[tuple[str, Version]]) -> None:
        self.core = core
        self.member = member
        self.items = items
        self._open = 0
        self._failed = False

    def advance(self) -> None:
        if self.member not in self.core.placement.ready:
            self._release()
            return
        self._failed = False
        for command in withdrawals(self.core, self.member, self.items):
            self._open += 1
            self.core.outbox.send(command, self)

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        self._open -= 1
        if isinstance(answer, Done) and answer.outcomes and Outcome.ERROR in answer.outcomes:
            self._failed = True
        elif isinstance(command, MarkMany) and answer is not None:
            note_marks(self.core, command, answer)
        if self._open:
            return
        if self._failed:
            self.core.stalled.append(self)
        else:
            self._release()

    def _release(self) -> None:
        for key, _ in self.items:
            self.core.doubts.remove_uncertain(key, self.member)
