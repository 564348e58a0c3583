"""`UpdateRequest`: changes what is said about a key (pinned, priority, expiry), not its value or version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .catalog import merged
from .commands import MemberCommand, Reply, UpdateMany
from .events import Done, UpdateKeys
from .model import Kind, MemberId, Outcome
from .outbox import Answer

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

KNOWN = ("pinned", "priority", "expires_s")
"""What the core itself keeps of the changes; the rest is between the caller and the members' records."""


class UpdateRequest:
    """An update of one or more keys, until it is answered: by then every copy says the same."""

    def __init__(self, core: CoordinatorCore, event: UpdateKeys) -> None:
        self.core = core
        self.event = event
        self.request = event.request
        self.keys = event.keys
        self.outcomes: dict[str, Outcome] = {}
        self.failed = False
        self._open = 0

    def begin(self) -> None:
        """All keys are ours: change them everywhere."""
        core = self.core
        client, sequence = self.request
        for key in self.keys:
            entry = core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or core.doubts.about(key, entry):
                self.outcomes[key] = core.queries.absence(key)
            elif entry.seen(client) >= sequence:
                if key in core.catch_up.behind:  # a copy may not have heard of it yet
                    core.requests.finish(self, None)
                    return
                self.outcomes[key] = Outcome.OK
        self.advance()

    def advance(self) -> None:
        """Send what has not been confirmed; commit when nothing is left."""
        core = self.core
        batches: dict[MemberId, list[str]] = {}
        for key in self.keys:
            if key not in self.outcomes:
                for member in core.catalog.entries[key].holders:
                    batches.setdefault(member, []).append(key)
        self.failed = False
        self._open += 1
        for member, keys in batches.items():
            self._open += 1
            versions = tuple(core.catalog.entries[key].version for key in keys)
            fence = core.outbox.fence(member)
            core.outbox.send(UpdateMany(fence, self.request, tuple(keys), versions, self.event.changes), self)
        self._close()

    def answered(self, command: MemberCommand, answer: Answer | None) -> None:
        outcomes = answer.outcomes if isinstance(answer, Done) else None
        self.failed |= outcomes is not None and Outcome.ERROR in outcomes
        self._close()

    def _close(self) -> None:
        self._open -= 1
        if self._open:
            return
        core = self.core
        if self.failed:
            core.stalled.append(self)  # a medium that fails: again at the next tick
            return
        client, sequence = self.request
        for key in self.keys:
            if key in self.outcomes:
                continue
            entry = core.catalog.entries[key]
            if not entry.holders:
                self.outcomes[key] = Outcome.UNKNOWN
                continue
            self.outcomes[key] = Outcome.OK
            entry.clients = merged(entry.clients, client, sequence, core.config.clients_per_key)
            known = {name: change for name, change in self.event.changes.items() if name in KNOWN}
            entry.wanted = core.catalog.shared(replace(entry.wanted, **known))
            core.expiries.add(key, entry.expires_s)
            core.catch_up.reached_all(key)
            copying = core.transfers.copying.get(key)
            if copying is not None:
                copying.outdated.add(key)  # it may have been fetched before the change
        outcomes = tuple(self.outcomes[key] for key in self.keys)
        core.requests.finish(self, Reply(self.request, outcomes if any(outcomes) else None))
