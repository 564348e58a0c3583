"""`MoveRequest`: a client moves keys to another tier. Copy, commit, then delete the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import Announce, Reply
from .events import MoveMany
from .model import TIER_ORDER, Kind, MemberId, Outcome
from .placement import no_member_of
from .transfer import Transfer

if TYPE_CHECKING:
    from .catalog import Entry
    from .coordinator import CoordinatorCore


class MoveRequest:
    """A key moves to a member of the tier, on its own node where possible.

    Once there is a copy in the tier, those that the key does not need to be as safe as it asks for are
    dropped. Of those that it needs, the ones in faster tiers sink as well, each to another node of the
    tier, as far as there are such; the others (the only durable one; the second when one rises) stay
    where they are. What is pinned meanwhile stays as well, if the move says so. Moves may be repeated.
    """

    def __init__(self, core: CoordinatorCore, event: MoveMany) -> None:
        self._core = core
        self._event = event
        self._outcomes: dict[str, Outcome] = {}
        self._left: dict[str, None] = dict.fromkeys(event.keys)
        self._dropped: dict[tuple[MemberId, MemberId], list[str]] = {}
        """By the member that keeps the key in the tier, and the one whose copy went."""
        self._sunk: set[tuple[str, MemberId]] = set()
        """Further copies that have been sent after the first, each of them once."""
        self._open = 0

    def advance(self) -> None:
        """Start the copies of those keys that nobody is changing now; the others later."""
        core, event = self._core, self._event
        batches: dict[tuple[MemberId, MemberId], list[str]] = {}
        for key in list(self._left):
            entry = core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE:
                lost = entry is not None and entry.kind is Kind.SUPERSEDED
                self._done(key, Outcome.LOST if lost else Outcome.MISSING)
                continue
            if (
                key in core.requests.busy
                or key in core.transfers.copying
                or core.doubts.is_doubtful(key, entry)
            ):
                continue
            ready = core.placement.ready
            elsewhere = [member for member in entry.holders if ready[member].tier != event.tier]
            elsewhere.sort(key=lambda member: TIER_ORDER.index(ready[member].tier))
            if event.unpinned_only and entry.pinned and elsewhere:
                self._done(key, Outcome.STALE)  # also where the pin came during the copy, which is given up
                continue
            there = [member for member in entry.holders if ready[member].tier == event.tier]
            movable = [m for m in elsewhere if not there or core.transfers.can_spare(key, m)]
            if there:
                for member in movable:
                    if core.transfers.can_spare(key, member):  # asked again: one less is left each time
                        core.catalog.remove_holder(key, member)
                        core.transfers.remove(member, [(key, entry.version)])
                        self._dropped.setdefault((there[0], member), []).append(key)
                route = self._next_to_sink(key, entry)
                if route is None:
                    self._done(key, Outcome.OK)
                else:
                    self._sunk.add((key, route[0]))
                    batches.setdefault(route, []).append(key)
                continue
            if not movable:  # no copy is known now: there is nothing to move
                self._done(key, Outcome.OK)
                continue
            source = movable[0]
            avoid = (*entry.holders, *core.doubts.uncertain.get(key, ()))
            node = event.node or ready[source].node
            target = core.placement.in_tier(event.tier, node, entry.nbytes, avoid)
            if target is None:
                if core.placement.in_tier(event.tier, node, entry.nbytes, entry.holders) is not None:
                    continue  # there will be room where a leftover is being removed just now
                has_tier = core.placement.has_tier(event.tier)
                self._done(key, Outcome.FULL if has_tier else Outcome.TOO_FEW_NODES)
                continue
            batches.setdefault((source, target), []).append(key)
        for (kept_at, dropped_at), keys in self._dropped.items():
            core.emit(Announce("moved", kept_at, tuple(keys), dropped_at))
        self._dropped.clear()
        for (source, target), keys in batches.items():
            self._open += len(keys)
            transfer = Transfer(core, source, target, "moved", move=True, finished=self._copied)
            for key in keys:
                del self._left[key]
                transfer.add(key, core.catalog.entries[key])
            transfer.start()
        self._finish()

    def _next_to_sink(self, key: str, entry: Entry) -> tuple[MemberId, MemberId] | None:
        """A copy that is still in a faster tier than the one asked for, and where it can go."""
        core, event = self._core, self._event
        ready = core.placement.ready
        rank = TIER_ORDER.index(event.tier)
        for source in entry.holders:
            if TIER_ORDER.index(ready[source].tier) >= rank or (key, source) in self._sunk:
                continue
            nodes = core.placement.nodes(member for member in entry.holders if member != source)
            avoid = (*entry.holders, *core.doubts.uncertain.get(key, ()))
            target = core.placement.in_tier(event.tier, ready[source].node, entry.nbytes, avoid, but=nodes)
            if target is not None:
                return source, target
        return None

    def _copied(self, key: str, outcome: Outcome) -> None:
        self._open -= 1
        if outcome in (Outcome.OK, Outcome.STALE):
            self._left[key] = None  # are there more copies to move, or has it been written meanwhile?
        else:
            self._done(key, outcome)
        if not self._open:
            self.advance()

    def _done(self, key: str, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._left.pop(key, None)

    def _finish(self) -> None:
        if self._open:
            return
        if self._left:
            self._core.stalled.append(self)
            return
        outcomes, message = None, ""
        if any(self._outcomes.values()):
            outcomes = tuple(self._outcomes[key] for key in self._event.keys)
            if Outcome.TOO_FEW_NODES in outcomes:
                message = no_member_of(self._event.tier)
        self._core.requests.moved(Reply(self._event.request, outcomes, message=message))
