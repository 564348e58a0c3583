"""`StoreGroup`: the steps of a store for those of its keys that share their members; see `stores`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from .commands import DropMany, MarkMany, MemberCommand, PutMany
from .events import Done
from .marks import note_marks
from .model import Kind, MemberId, Outcome
from .outbox import Answer
from .placement import no_member_of
from .store_commit import clients_of_all, clients_of_others, enter_values
from .withdrawals import withdrawals

if TYPE_CHECKING:
    from .stores import StoreRequest


class StoreGroup:
    """Keys of one request that go to the same members and replace something on the same members."""

    def __init__(
        self, request: StoreRequest, rows: list[int], targets: list[MemberId], old: tuple[MemberId, ...]
    ) -> None:
        self.request = request
        self.core = request.core
        self.rows = rows
        keys, sizes = request.event.keys, request.event.sizes
        everything = len(rows) == len(keys)
        self.keys = keys if everything else tuple(keys[row] for row in rows)
        self.sizes = sizes if everything else tuple(sizes[row] for row in rows)
        self.nbytes = sum(self.sizes)
        self.targets = targets
        self.old = set(old)
        """Members that may hold something older, or leftovers of ours."""
        self.good: list[MemberId] = []
        self.marked: set[MemberId] = set()
        self.cleared: set[MemberId] = set()
        self.bad: dict[MemberId, list[str]] = {}
        """Members that refused some keys, with the keys that they took."""
        self.replaced: dict[MemberId, Collection[str]] = {}
        """Where our value took the place of an old one, or may have, and of which keys; lives that are over
        included."""
        self.undone: set[MemberId] = set()
        self.left_marks: list[tuple[MarkMany, Answer]] = []
        """Marks that stand where our value was taken back."""
        self.lives: dict[MemberId, int] = {}
        """The incarnations that have answered: what an earlier life said does not count."""
        self.durable_lives: set[MemberId] = set()
        self.uncertain = False
        """Whether a leftover may sit on a disk that is out of reach."""
        self.clearing = False
        """Whether old values have been removed, or marks written, which cannot be taken back."""
        self.forced = False
        self.failed: Outcome | None = None
        self.finished = False
        self.open = 0
        self.started_s = self.core.clock()

    # -- what to do next ----------------------------------------------------------------------------

    def advance(self) -> None:
        """Take the next step, unless answers are still to come."""
        if self.open or self.finished:
            return
        if self.failed is not None:
            self._undo()
            return
        self._look_who_is_there()
        options = self.request.event.options
        placement = self.core.placement
        if not placement.enough(options, self.targets):
            self.targets += placement.choose(options, self.nbytes, self.targets, self.bad)
        short = not placement.enough(options, self.targets)
        if short and not self.forced and not (options.allow_degraded and self.targets):
            self._too_few()
            return
        waiting = [member for member in self.targets if member not in self.good]
        fresh = [member for member in waiting if member not in self.old]
        if waiting:
            for member in fresh or waiting:
                self._put(member)
            return
        if not self._clear_old():
            return
        self._commit()

    def _look_who_is_there(self) -> None:
        """Forget what was confirmed by lives that are over, or about to be."""
        placement = self.core.placement
        self.targets = [member for member in self.targets if placement.is_trusted(member)]
        for member, life in list(self.lives.items()):
            if placement.is_trusted(member, life):
                continue
            del self.lives[member]
            self.marked.discard(member)
            self.cleared.discard(member)
            if member in self.good or member in self.bad:
                # It has our value, and nobody will ask it to forget it if we fail.
                self.uncertain |= member in self.durable_lives
                self.good = [other for other in self.good if other != member]
                self.bad.pop(member, None)
                self.old.add(member)
                held = self.core.doubts.dark.get(member)
                if held is not None:
                    held.update(dict.fromkeys(self.keys, self.request.version))

    def _put(self, member: MemberId) -> None:
        event = self.request.event
        everything = len(self.rows) == len(event.keys)
        self.core.placement.reserve(member, self.nbytes)
        self._send(
            PutMany(
                self.core.outbox.fence(member),
                event.request,
                self.request.version,
                self.keys,
                self.sizes,
                None if everything else tuple(self.rows),
                event.payload,
                event.options,
                clients_of_others(self.core, event.request, self.keys),
            )
        )

    def _clear_old(self) -> bool:
        """Step 3. Whether nothing is left to do."""
        core = self.core
        ready = core.placement.ready
        durable = core.placement.durable(self.good)
        away = core.doubts.may_be_away(self.keys)
        for member in sorted(self.old):
            if member not in ready or member in self.good or member in self.cleared:
                continue
            self.clearing = True
            if ready[member].durable and (away or not durable):
                # Dropping it would also drop the evidence against what is older still, and away.
                self._mark(member)
            else:
                versions = (self.request.version,) * len(self.keys)
                self._send(DropMany(core.outbox.fence(member), self.keys, versions, exact=False))
        if self.open:
            return False
        if core.doubts.may_be_away(self.keys):
            written = {m for m in (*self.good, *self.marked) if m in ready and ready[m].durable}
            missing = core.doubts.missing_witnesses(written)
            if missing is None:
                core.stalled.append(self)
                return False
            for member in missing:
                self.clearing = True  # a mark takes the place of older evidence
                self._mark(member)
        return not self.open

    def _mark(self, member: MemberId) -> None:
        self._send(
            MarkMany(
                self.core.outbox.fence(member),
                Kind.SUPERSEDED,
                self.request.version,
                self.keys,
                clients_of_all(self.core, self.request.event.request, self.keys),
                # It took some of the keys. (What a life before this one took is in its inventory.)
                withdrawn=self.request.version if member in self.bad else None,
            )
        )

    def _send(self, command: MemberCommand) -> None:
        self.open += 1
        self.core.outbox.send(command, self)

    # -- what has come back -------------------------------------------------------------------------

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        self.open -= 1
        member = command.fence.member
        self.lives[member] = command.fence.incarnation
        info = self.core.placement.ready.get(member)
        if info is not None and info.durable:
            self.durable_lives.add(member)
        outcomes = answer.outcomes if isinstance(answer, Done) else None
        if isinstance(command, PutMany):
            self.core.placement.reserve(member, -self.nbytes)
            if answer is None:
                self.uncertain |= member in self.core.doubts.dark
                self._note_replaced(member, self.keys)
            elif outcomes is None or not any(outcomes):
                self.good.append(member)
                self._note_replaced(member, self.keys)
            else:
                # Some keys may have been put: step 3 (or going back) clears this member as well.
                taken = [key for key, o in zip(self.keys, outcomes, strict=True) if o is Outcome.OK]
                self.bad[member] = taken
                self.targets.remove(member)
                self._note_replaced(member, taken)
                self.old.add(member)
        elif answer is not None and (outcomes is None or Outcome.ERROR not in outcomes):
            if self.failed is None:
                self.cleared.add(member)
                if isinstance(command, MarkMany):
                    self.marked.add(member)
            elif isinstance(command, MarkMany):
                self.left_marks.append((command, answer))
        else:
            self.undone.discard(member)
            if answer is None:
                self.uncertain |= member in self.core.doubts.dark
            elif not self.open:
                self.core.stalled.append(self)  # a medium that fails: again at the next tick
                return
        self.advance()

    def _note_replaced(self, member: MemberId, keys: Collection[str]) -> None:
        if keys and member in self.old:
            self.replaced[member] = keys

    # -- the end ------------------------------------------------------------------------------------

    def _too_few(self) -> None:
        """There is no place for the copies that were asked for."""
        core = self.core
        if not self._may_go_back():
            # Wait for a member; in the end the value stays where it is, and nobody is told that it does.
            late = core.clock() - self.started_s >= core.config.give_up_s
            if not late or self.good or self.clearing:
                self.forced = late
                core.stalled.append(self)
                return
            self.uncertain = True  # nobody took all keys: keep at least what was not replaced
        options = self.request.event.options
        has_tier = options.tier is None or core.placement.has_tier(options.tier)
        enough_nodes = core.placement.node_count >= options.replicas and has_tier
        self.failed = Outcome.FULL if enough_nodes or self.bad else Outcome.TOO_FEW_NODES
        self.advance()

    def _may_go_back(self) -> bool:
        """Whether the old values are as safe without our copies as they have to be.

        One copy that was not replaced would not do: its member may have died and not be missed yet, or
        die before there are others, and ours, which are to be removed or are lost, took the place of the
        rest.
        """
        if self.clearing:
            return False
        if not self.replaced:
            return True
        placement, entries = self.core.placement, self.core.catalog.entries
        for key in self.keys:
            entry = entries.get(key)
            ours = {member for member, taken in self.replaced.items() if key in taken}
            if entry is None or entry.kind is not Kind.VALUE or not ours:
                continue
            left = [m for m in entry.holders if m not in ours and placement.is_trusted(m)]
            if not placement.enough(entry, left):
                return False
        return True

    def _undo(self) -> None:
        """Remove what was put, and answer when none of it is left."""
        core = self.core
        ours = [(key, self.request.version) for key in self.keys]
        for member in (*self.good, *self.bad):
            if member in core.placement.ready and member not in self.undone:
                self.undone.add(member)
                for command in withdrawals(core, member, ours):
                    self._send(command)
        if self.open:
            return
        assert self.failed is not None
        self.finished = True
        self._look_who_is_there()
        for member, keys in (*((member, self.keys) for member in self.good), *self.bad.items()):
            for key in keys:
                entry = core.catalog.entries.get(key)
                if entry is not None and member in entry.holders:
                    core.catalog.remove_holder(key, member)
        for mark, answer in self.left_marks:
            if core.placement.is_trusted(mark.fence.member, mark.fence.incarnation):
                note_marks(core, mark, answer)
        core.doubts.check_lost(self.keys)
        core.transfers.check(self.keys)
        if self.uncertain or self.request.took_effect:
            self.request.done(self.rows, Outcome.UNKNOWN, "a member was lost while it may have had a copy")
        else:
            self.request.done(self.rows, self.failed, self._why())

    def _why(self) -> str:
        options = self.request.event.options
        placement = self.core.placement
        if options.tier is not None and not placement.has_tier(options.tier):
            return no_member_of(options.tier)
        advice = ""
        if self.failed is Outcome.TOO_FEW_NODES:
            advice = "; allow_degraded=True accepts fewer copies"
        return (
            f"{self.nbytes} bytes in {len(self.keys)} keys for {options.replicas} nodes"
            f"{' and stable storage' if options.durable else ''} in {options.tier or 'any tier'}: "
            f"{placement.node_count} nodes are ready{advice}"
        )

    def _commit(self) -> None:
        self.finished = True
        core, request = self.core, self.request
        options = request.event.options
        holders = tuple(self.good)
        dropped = self.cleared - self.marked
        enter_values(
            core, request.event, request.version, self.keys, self.sizes, holders, self.marked, dropped
        )
        request.copies = min(request.copies, len(core.placement.nodes(holders)))
        request.durable = request.durable and core.placement.durable(holders)
        if not core.placement.enough(options, holders):
            core.transfers.check(self.keys)
            core.requests.recheck.update(self.keys)
        if self.forced:
            message = "the value was stored, but on fewer nodes than was asked for"
            request.done(self.rows, Outcome.UNKNOWN, message)
        else:
            request.done(self.rows)
