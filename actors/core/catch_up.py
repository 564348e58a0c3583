"""`CatchUp`: copies of one version that say different things of their key (pinned, priority, expiry).

An update that was under way when a coordinator died has reached some copies, and a disk that was away has
missed some. The marks of the clients tell which copy has heard the last word; it becomes what the catalog
says, and all copies are told it once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .catalog import Entry
from .events import UpdateKeys
from .model import Clients, Kind, RequestId

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore

_KEYS_A_TICK = 4096


class CatchUp:
    """Which keys have copies that are behind, and what brings these up to date."""

    def __init__(self, core: CoordinatorCore, owner: str) -> None:
        self._core = core
        self._client = f"catching up of {owner}"
        self._sequence = 0
        self.behind: dict[str, None] = {}
        """Keys of which a copy may say something older, until an update has reached all of them."""

    def compare(self, key: str, known: Entry, copy: Entry) -> None:
        """Another copy of the same value. To be called before the marks of both are united."""
        if _said(known) == _said(copy):
            return
        self.behind[key] = None
        if _has_heard_more(copy.clients, known.clients):
            known.wanted = copy.wanted
            self._core.expiries.add(key, known.expires_s)

    def due(self) -> list[UpdateKeys]:
        """Updates that tell every copy what is true, for keys that nobody is changing just now."""
        core = self._core
        batches: dict[tuple[Any, ...], list[str]] = {}
        for number, key in enumerate(list(self.behind)):
            if number == _KEYS_A_TICK:
                break
            entry = core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE or not entry.holders:
                del self.behind[key]
            elif not core.requests.is_wanted(key) and not core.doubts.about(key, entry):
                batches.setdefault(_said(entry), []).append(key)
        updates = []
        for (pinned, priority, expires_s), keys in batches.items():
            self._sequence += 1
            changes = {"pinned": pinned, "priority": priority, "expires_s": expires_s}
            updates.append(UpdateKeys(RequestId(self._client, self._sequence), tuple(keys), changes))
        return updates

    def reached_all(self, key: str) -> None:
        """Every copy of the key says the same."""
        self.behind.pop(key, None)


def _said(entry: Entry) -> tuple[bool, float, float | None]:
    return entry.pinned, entry.priority, entry.expires_s


def _has_heard_more(one: Clients, other: Clients) -> bool:
    """Whether one copy knows of a request that the other has missed, and has missed none itself."""
    return _misses(other, one) and not _misses(one, other)


def _misses(one: Clients, other: Clients) -> bool:
    seen = dict(one)
    return any(sequence > seen.get(client, -1) for client, sequence in other)
