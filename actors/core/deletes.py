"""`DeleteRequest`: how a key goes away and stays away.

Every member that may hold something of the key gets a tombstone over it, and at least two nodes do: it
also keeps the clients' marks, without which a repeated request, this one or an earlier store, would be
taken for a new one. That holds for keys that were absent as well. The delete is acknowledged when all
have confirmed. While a disk that may hold the key is away, the tombstones are on stable storage of
several nodes, and stay until that disk has come back and been cleaned, or has been declared gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .catalog import Entry, merged
from .commands import MarkMany, MemberCommand, Reply
from .events import DeleteMany, Done
from .model import Clients, Kind, MemberId, Outcome, StoreOptions, Version
from .outbox import Answer

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_NOTHING = StoreOptions(replicas=0)


class DeleteRequest:
    """A delete of one or more keys, until it is answered. Keys that were absent answer MISSING."""

    def __init__(self, core: CoordinatorCore, event: DeleteMany) -> None:
        self.core = core
        self.event = event
        self.request = event.request
        self.keys = event.keys
        self.version = Version()
        self.outcomes: dict[int, Outcome] = {}
        self._open = 0

    def begin(self) -> None:
        """All keys are ours. Plan the groups and start them."""
        core = self.core
        client, sequence = self.event.request
        if not all(self._outdone_for_good(key) for key in self.keys):
            core.requests.finish(self, None)
            return
        self.version = core.next_version()
        groups: dict[tuple[MemberId, ...], list[int]] = {}
        for row, key in enumerate(self.keys):
            entry = core.catalog.entries.get(key)
            away = core.doubts.may_be_away((key,))
            self.outcomes[row] = Outcome.MISSING
            if entry is not None:
                repeated = entry.seen(client) >= sequence
                if repeated or entry.kind is not Kind.TOMBSTONE:
                    self.outcomes[row] = Outcome.OK
                recovered = entry.version.epoch < core.membership.epoch
                if repeated and not (away and recovered and entry.clients[-1] == self.request):
                    continue
            members = core.doubts.members_with_anything(key)
            groups.setdefault(core.placement.on_two_nodes(members), []).append(row)
        self._open += 1
        for members, rows in groups.items():
            self._open += 1
            DeleteGroup(self, rows, members).advance()
        self.done()

    def _outdone_for_good(self, key: str) -> bool:
        """False where a later request of the client has outdone this one under an earlier coordinator, and
        its value may still be lost: then what this one was to delete would be back."""
        core = self.core
        client, sequence = self.event.request
        entry = core.catalog.entries.get(key)
        if entry is None or entry.version.epoch >= core.membership.epoch or entry.seen(client) <= sequence:
            return True
        return core.doubts.make_safe(key, entry, allow_degraded=True)

    def done(self) -> None:
        """One group has come to its end."""
        self._open -= 1
        if self._open == 0:
            outcomes = None
            if any(self.outcomes.values()):
                outcomes = tuple(self.outcomes[row] for row in range(len(self.keys)))
            self.core.requests.finish(self, Reply(self.event.request, outcomes, self.version))


class DeleteGroup:
    """Keys of one request that the same members may hold."""

    def __init__(self, request: DeleteRequest, rows: Iterable[int], members: tuple[MemberId, ...]) -> None:
        self.request = request
        self.core = request.core
        self.keys = tuple(request.keys[row] for row in rows)
        self.members = set(members)
        self.marked: dict[MemberId, int] = {}
        """Members that have confirmed, with the life that did."""
        self.open = 0
        self.clients: dict[str, Clients] = {}
        client, sequence = request.event.request
        for key in self.keys:
            entry = self.core.catalog.entries.get(key)
            known = () if entry is None else entry.clients
            self.clients[key] = merged(known, client, sequence, self.core.config.clients_per_key)

    def advance(self) -> None:
        """Mark who is not marked yet; commit when nobody is left."""
        if self.open:
            return
        core = self.core
        ready = core.placement.ready
        self.marked = {
            member: life
            for member, life in self.marked.items()
            if member in ready and ready[member].incarnation == life
        }
        waiting = sorted(member for member in self.members - self.marked.keys() if member in ready)
        if not waiting and core.doubts.may_be_away(self.keys):
            witnesses = core.doubts.missing_witnesses(
                {member for member in self.marked if ready[member].durable}
            )
            if witnesses is None:
                core.stalled.append(self)
                return
            waiting = witnesses
        for member in waiting:
            self.open += 1
            fence = core.outbox.fence(member)
            command = MarkMany(fence, Kind.TOMBSTONE, self.request.version, self.keys, self.clients)
            core.outbox.send(command, self)
        if not waiting:
            self._commit()

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        self.open -= 1
        outcomes = answer.outcomes if isinstance(answer, Done) else None
        if answer is not None and outcomes is not None and Outcome.ERROR in outcomes:
            if not self.open:
                self.core.stalled.append(self)  # a medium that fails: again at the next tick
            return
        if answer is not None:
            self.marked[command.fence.member] = command.fence.incarnation
        self.advance()

    def _commit(self) -> None:
        core = self.core
        marks = tuple(sorted(self.marked))
        now = core.clock()
        for key in self.keys:
            entry = Entry(self.request.version, Kind.TOMBSTONE, 0, self.clients[key], _NOTHING)
            entry.changed_s = now
            core.catalog.put(key, entry, (), marks)
        core.doubts.committed(self.keys)
        core.tombstones.add(self.keys, now)
        self.request.done()
