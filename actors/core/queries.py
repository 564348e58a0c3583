"""`Queries`: where a key can be read, and which keys there are. Nothing here changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .catalog import Entry
from .commands import Located, Reply
from .events import ListKeys, LocateMany
from .model import Kind, MemberId, Outcome

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


class Queries:
    """Answers from the catalog."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._tiers = {tier: rank for rank, tier in enumerate(core.config.tiers)}

    def locate(self, event: LocateMany) -> None:
        located = tuple(self._locate(key, event.node) for key in event.keys)
        self._core.emit(Reply(event.request, located=located))

    def list_keys(self, event: ListKeys) -> None:
        core = self._core
        now = core.wall_clock()
        prefix = event.prefix
        entries = core.catalog.entries
        found = {
            key
            for key, entry in entries.items()
            if key.startswith(prefix)
            and entry.kind is Kind.VALUE
            and (entry.expires_s is None or now < entry.expires_s)
        }
        for held in core.doubts.dark.values():
            away = (key for key in held or () if key.startswith(prefix) and key not in found)
            found.update(key for key in away if self._absent(key, entries.get(key)) is Outcome.UNAVAILABLE)
        keys = sorted(found)
        unknown = self.unknown_contents()
        outcomes = (Outcome.UNAVAILABLE,) if unknown else None
        core.emit(Reply(event.request, outcomes, keys=tuple(keys), message=unknown))

    def unknown_contents(self) -> str:
        """Which members may have keys that are not in the catalog, in words; empty: none."""
        unknown = sorted(member for member, held in self._core.doubts.dark.items() if held is None)
        if not unknown:
            return ""
        return (
            f"{', '.join(unknown)} cannot be reached, and what is stored there is not known: bring the node "
            f"back, or give the disk up with `memories declare-gone`"
        )

    def _locate(self, key: str, node: str) -> Located:
        core = self._core
        entry = core.catalog.entries.get(key)
        if entry is None or entry.kind is not Kind.VALUE:
            return Located(self._absent(key, entry))
        if entry.expires_s is not None and core.wall_clock() >= entry.expires_s:
            return Located(Outcome.MISSING, entry.version)
        if (core.doubts.undecided and key in core.doubts.undecided) or (
            core.doubts.dark and core.doubts.is_doubtful(key, entry)
        ):
            return Located(Outcome.UNAVAILABLE, entry.version)
        ready = core.placement.ready
        holders = entry.holders
        if len(holders) > 1:
            holders = tuple(sorted(holders, key=lambda member: self._distance(member, node)))
        places = tuple((member, ready[member].incarnation) for member in holders if member in ready)
        return Located(Outcome.OK if places else Outcome.UNAVAILABLE, entry.version, entry.nbytes, places)

    def _distance(self, member: MemberId, node: str) -> tuple[bool, int, str]:
        info = self._core.placement.ready[member]
        return info.node != node, self._tiers.get(info.tier, len(self._tiers)), member

    def absence(self, key: str) -> Outcome:
        """Why the key has no value that could be changed."""
        entry = self._core.catalog.entries.get(key)
        if entry is not None and entry.kind is Kind.VALUE:
            return Outcome.UNAVAILABLE
        return self._absent(key, entry)

    def _absent(self, key: str, entry: Entry | None) -> Outcome:
        """Why there is no value: never stored, deleted, lost, or on a disk that is not heard."""
        core = self._core
        for held in core.doubts.dark.values():
            if held is None:
                # What this coordinator did itself it knows; the rest may have been outdone over there.
                if entry is None or entry.version.epoch < core.membership.epoch:
                    return Outcome.UNAVAILABLE
            elif key in held and (
                entry is None
                or held[key] > entry.version
                or (held[key] == entry.version and entry.kind is Kind.SUPERSEDED)
            ):
                return Outcome.UNAVAILABLE
        if entry is not None and entry.kind is Kind.SUPERSEDED:
            return Outcome.LOST
        return Outcome.MISSING
