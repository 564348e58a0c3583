"""`Transfers`: copies between members, for repairs and moves, and the removal of what is left over.

A transfer does not lock its keys, for a large copy must not hold up a writer. So when it ends, it looks
whether the version that it copied is still the one of the catalog. Only then does the copy count, and
only then may the source be deleted; otherwise the copy itself is removed. While a member may have
something of a key that the catalog does not list, the key is "uncertain" there, and whoever overwrites
or deletes the key clears that member too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from .commands import Announce, CopyMany, DropMany, MemberCommand
from .events import Done
from .model import Kind, MemberId, Outcome, Version
from .outbox import Answer
from .refusals import Refusals

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

Finished = Callable[[str, Outcome], None]


class Transfer:
    """One batch of copies from one member to another; a move where `move` is set."""

    def __init__(
        self,
        core: CoordinatorCore,
        source: MemberId,
        target: MemberId,
        keys: Sequence[str],
        what: str,
        *,
        move: bool,
        finished: Finished | None = None,
    ) -> None:
        self.core = core
        self.source = source
        self.target = target
        self.keys = tuple(keys)
        self.what = what
        self.move = move
        self.finished = finished
        self.outdated: set[str] = set()
        """Keys of which something has changed since the copy began."""
        entries = core.catalog.entries
        self.versions = tuple(entries[key].version for key in self.keys)
        self.sizes = tuple(entries[key].nbytes for key in self.keys)
        self.nbytes = sum(self.sizes)

    def start(self) -> None:
        core = self.core
        core.placement.reserve(self.target, self.nbytes)
        for key in self.keys:
            core.doubts.add_uncertain(key, self.target)
            core.transfers.copying[key] = self
        core.outbox.send(
            CopyMany(
                core.outbox.fence(self.target),
                self.source,
                core.outbox.incarnation(self.source),
                self.keys,
                self.versions,
                self.sizes,
            ),
            self,
        )

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        core = self.core
        core.placement.reserve(self.target, -self.nbytes)
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
        self.keys = tuple(key for key, _ in items)
        self.versions = tuple(version for _, version in items)

    def advance(self) -> None:
        if self.member not in self.core.placement.ready:
            self._release()
            return
        fence = self.core.outbox.fence(self.member)
        self.core.outbox.send(DropMany(fence, self.keys, self.versions, exact=True), self)

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        failed = isinstance(answer, Done) and answer.outcomes and Outcome.ERROR in answer.outcomes
        if failed:
            self.core.stalled.append(self)
        else:
            self._release()

    def _release(self) -> None:
        for key in self.keys:
            self.core.doubts.remove_uncertain(key, self.member)


class Transfers:
    """Keeps every value at as many copies as it asks for."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._queue: dict[str, None] = {}
        self.copying: dict[str, Transfer] = {}
        """Keys that are being copied."""
        self._leftovers: dict[MemberId, list[tuple[str, Version]]] = {}
        self.starving: dict[str, None] = {}
        """Keys that want another copy, for which there is no place now."""
        self.refusals = Refusals(core.clock)

    def still_current(self, key: str, version: Version) -> bool:
        """Whether the catalog still has the key in this version, and nobody is changing it."""
        entry = self._core.catalog.entries.get(key)
        return (
            entry is not None
            and entry.kind is Kind.VALUE
            and entry.version == version
            and key not in self._core.requests.busy
        )

    def can_spare(self, key: str, member: MemberId) -> bool:
        """Whether the key is as safe without its copy on this member as it has to be, or as with it."""
        core = self._core
        entry = core.catalog.entries[key]
        if member not in entry.holders or key in core.doubts.undecided or self._is_evidence(key, member):
            return False
        rest = [other for other in entry.holders if other != member]
        if not rest:
            return False
        placement = core.placement
        durable = placement.durable(rest) or not (entry.durable and placement.durable(entry.holders))
        nodes = len(placement.nodes(rest))
        return durable and (nodes >= entry.replicas or nodes >= len(placement.nodes(entry.holders)))

    def _is_evidence(self, key: str, member: MemberId) -> bool:
        """Whether this copy, on stable storage, is needed against an older one on a disk that is away."""
        core = self._core
        if (
            not core.doubts.dark
            or not core.placement.durable((member,))
            or not core.doubts.may_be_away((key,))
        ):
            return False
        entry = core.catalog.entries[key]
        others = {m for m in (*entry.holders, *entry.marks) if m != member and core.placement.durable((m,))}
        return core.doubts.missing_witnesses(others) != []

    def copy_is_bad(self, key: str, version: Version, member: MemberId, outcome: Outcome) -> None:
        """This copy cannot be read. It is removed where there is another; where not, it is kept."""
        core = self._core
        if not self.still_current(key, version) or (member in core.doubts.uncertain.get(key, ())):
            return
        entry = core.catalog.entries[key]
        if member in entry.holders and (len(entry.holders) > 1 or outcome is Outcome.MISSING):
            core.catalog.remove_holder(key, member)
            self.remove(member, [(key, version)])
            core.doubts.check_lost((key,))
            self.check((key,))

    def remove(self, member: MemberId, items: Sequence[tuple[str, Version]]) -> None:
        """Drop these versions at a member, at the end of this event."""
        if items:
            self._leftovers.setdefault(member, []).extend(items)
            for key, _ in items:
                self._core.doubts.add_uncertain(key, member)

    def check(self, keys: Iterable[str]) -> None:
        """Look soon whether these keys have the copies that they want."""
        self._queue.update(dict.fromkeys(keys))

    def check_starving(self, most: int | None = None) -> None:
        """There may be room now for what found none (look at so many of them, the longest waiting first)."""
        keys = list(islice(self.starving, most))
        for key in keys:
            del self.starving[key]
        self.check(keys)

    def check_refused(self) -> None:
        """Copies that were refused have waited long enough, some of them."""
        if self.refusals:
            self.check(self.refusals.due())

    @property
    def idle(self) -> bool:
        """Whether nothing is being copied and nothing waits for it."""
        return not (self._queue or self.copying or self._leftovers or self.refusals)

    def send_removals(self) -> None:
        """Send what `remove` has gathered, as one command for each member."""
        if self._leftovers:
            leftovers, self._leftovers = self._leftovers, {}
            for member, items in leftovers.items():
                Removal(self._core, member, items).advance()

    def pump(self) -> None:
        """Start as many repairs as may run at a time."""
        if not self._queue:
            return
        core = self._core
        limit = core.config.transfers_in_flight
        running: dict[MemberId, int] = {}
        for transfer in set(self.copying.values()):
            running[transfer.target] = running.get(transfer.target, 0) + 1
        batches: dict[tuple[MemberId, MemberId], list[str]] = {}
        sizes: dict[tuple[MemberId, MemberId], int] = {}
        later: list[str] = []
        room = core.config.transfer_keys * limit
        while self._queue and room:
            room -= 1
            key = next(iter(self._queue))
            del self._queue[key]
            route = self._plan(key)
            if route is None:
                continue
            nbytes = core.catalog.entries[key].nbytes
            batch = batches.setdefault(route, [])
            full = len(batch) >= core.config.transfer_keys or (
                batch and sizes[route] + nbytes > core.config.transfer_bytes
            )
            if full or running.get(route[1], 0) >= limit:
                later.append(key)
                continue
            batch.append(key)
            sizes[route] = sizes.get(route, 0) + nbytes
        for (source, target), keys in batches.items():
            if keys:
                Transfer(core, source, target, keys, "repaired", move=False).start()
        self.check(later)

    def _plan(self, key: str) -> tuple[MemberId, MemberId] | None:
        """From where to where the key wants a copy; None where it wants none, or cannot have it."""
        core = self._core
        entry = core.catalog.entries.get(key)
        if entry is None or entry.kind is not Kind.VALUE:
            self.refusals.forget(key)
            return None
        if key in self.copying or self.refusals.is_resting(key):
            return None  # a copy checks its keys again at its end
        if key in core.requests.busy:
            core.requests.recheck.add(key)
            return None
        if core.doubts.dark and core.doubts.is_doubtful(key, entry):
            self.starving[key] = None
            return None
        placement = core.placement
        holders = [member for member in entry.holders if member in placement.ready]
        if not holders:
            return None
        staying = [m for m in holders if placement.ready[m].node not in placement.draining]
        options = entry.options(placement.ready[(staying or holders)[0]].tier)
        if not placement.enough(options, staying):
            avoid = (*holders, *core.doubts.uncertain.get(key, ()))
            refused = self.refusals.bad_targets(key)
            targets = placement.choose(options, entry.nbytes, staying, (*avoid, *refused))
            if not targets and refused:
                refused.clear()
                targets = placement.choose(options, entry.nbytes, staying, avoid)
            if targets:
                return self.refusals.source(key, holders), targets[0]
            self.starving[key] = None
        self.refusals.forget(key)
        if key in core.doubts.undecided:
            core.doubts.decide(key)
        self._trim(key, staying, holders)
        return None

    def _trim(self, key: str, staying: list[MemberId], holders: list[MemberId]) -> None:
        """Remove copies beyond those that are wanted, and those on draining nodes."""
        core = self._core
        entry = core.catalog.entries[key]
        wanted = entry.replicas + (1 if entry.durable else 0)
        for member in reversed(holders):
            rest = [other for other in staying if other != member]
            surplus = member not in staying or len(staying) > wanted
            if surplus and core.placement.enough(entry, rest) and not self._is_evidence(key, member):
                core.catalog.remove_holder(key, member)
                self.remove(member, [(key, entry.version)])
                staying = rest
