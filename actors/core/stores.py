"""`Stores`: how a value gets its copies, and how it takes the place of an older one.

The steps of one group of keys that share their members:

1. Put the value on targets that have nothing older. If that fails, the old value is untouched.
2. Put it on targets that have the old value, which it replaces there. If that fails, the store goes back
   only where the old value still has all the copies that it asks for; otherwise it waits for a place.
3. On all other members with something older: drop that, or, where the old value is durable and the new one
   is not, write a "superseded" mark over it. While a disk that may hold the key is away, marks go to
   several nodes.
4. Commit in the catalog and acknowledge.

So when a value is acknowledged, an older one can come back from no member, whatever is lost afterwards:
an older value that is found alive proves that the newer one was never acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .catalog import Entry
from .commands import Reply
from .events import StoreMany
from .model import Kind, MemberId, Outcome, Version
from .store_group import StoreGroup

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


class StoreRequest:
    """A store of one or more keys, until it is answered."""

    def __init__(self, core: CoordinatorCore, event: StoreMany) -> None:
        self.core = core
        self.event = event
        self.request = event.request
        self.keys = event.keys
        self.version = Version()
        self.found: Version | None = None
        """The version under which an earlier coordinator has stored keys of this request."""
        self.outcomes: dict[int, Outcome] = {}
        self.copies = event.options.replicas
        self.durable = True
        self.message = ""
        self.took_effect = False
        """Whether it cannot be said any more that nothing was changed."""
        self.silent = False
        """Whether an answer would promise too much."""
        self._open = 0

    def begin(self) -> None:
        """All keys are ours. Plan the groups and start them."""
        core, event = self.core, self.event
        client, sequence = event.request
        groups: dict[tuple[MemberId, ...], list[int]] = {}
        fresh: list[int] = []
        entries = core.catalog.entries
        uncertain = core.doubts.uncertain
        self.version = core.next_version()
        for row, key in enumerate(event.keys):
            entry = entries.get(key)
            if entry is None and key not in uncertain:
                fresh.append(row)
                continue
            if entry is not None and entry.seen(client) >= sequence:
                if entry.kind is not Kind.SUPERSEDED or not self._is_recovered(entry):
                    self._repeated(row, key, entry)
                    continue
                self.took_effect = True  # and was lost before it was answered: once more
            old = core.doubts.members_with_value(key)
            groups.setdefault(old, []).append(row)
        if fresh:
            groups.setdefault((), []).extend(fresh)
        self._open += 1
        for old, rows in groups.items():
            self._start(rows, old)
        self._open -= 1
        self._finish_if_done()

    def _start(self, rows: list[int], old: tuple[MemberId, ...]) -> None:
        sizes = self.event.sizes
        total = sum(sizes[row] for row in rows)
        options = self.event.options
        targets = self.core.placement.choose(options, total)
        if len(rows) > 1 and not self.core.placement.enough(options, targets):
            # Too much for one set of members: halves may fit where the whole does not.
            middle = len(rows) // 2
            self._start(rows[:middle], old)
            self._start(rows[middle:], old)
            return
        self._open += 1
        self.core.stores.make_group(self, rows, targets, old).advance()

    def _repeated(self, row: int, key: str, entry: Entry) -> None:
        """This request has taken effect before, perhaps under another coordinator.

        Then nobody knows whether it got as far as an answer, so its value must first be as safe as the
        answer says. That is on its way; the client asks again.
        """
        core, options = self.core, self.event.options
        self.outcomes[row] = Outcome.OK
        ours = entry.clients[-1] == self.request
        if ours:
            placement = core.placement
            self.found = entry.version
            self.copies = min(self.copies, len(placement.nodes(entry.holders)))
            self.durable = self.durable and placement.durable(entry.holders)
        else:  # it has been replaced since: what was achieved is what was asked for
            self.durable = self.durable and options.durable
        # Of what has replaced it only the key's own options are known, and not whether fewer copies would do.
        degraded = options.allow_degraded or not ours
        recovered = entry.version.epoch < core.membership.epoch
        if recovered and not core.doubts.make_safe(key, entry, allow_degraded=degraded):
            self.silent = True

    def _is_recovered(self, entry: Entry) -> bool:
        """Whether the key is as this request left it, under an earlier coordinator."""
        return entry.version.epoch < self.core.membership.epoch and entry.clients[-1] == self.request

    def done(self, rows: Iterable[int], outcome: Outcome = Outcome.OK, message: str = "") -> None:
        """One group has come to its end."""
        for row in rows:
            self.outcomes[row] = outcome
        if message:
            self.message = message
        self._open -= 1
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._open:
            return
        if self.silent:
            self.core.requests.finish(self, None)
            return
        outcomes = None
        if any(self.outcomes.values()):
            outcomes = tuple(self.outcomes[row] for row in range(len(self.keys)))
        self.core.requests.finish(
            self,
            Reply(
                self.event.request,
                outcomes,
                self.version if self.found is None else self.found,
                copies=self.copies,
                durable=self.durable,
                message=self.message,
            ),
        )


class Stores:
    """Makes groups; a seam for tests, which put deliberate mistakes there."""

    def make_group(
        self, request: StoreRequest, rows: list[int], targets: list[MemberId], old: tuple[MemberId, ...]
    ) -> StoreGroup:
        return StoreGroup(request, rows, targets, old)
