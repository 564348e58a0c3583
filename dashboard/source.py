"""`SnapshotSource`: where the dashboard gets what it draws. It knows no actor; a source may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..actors.status import Snapshot
from ..errors import MemoriesError


class NothingRuns(MemoriesError):
    """There is nothing to look at: no Ray, or no cluster of that name in it."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key of the key browser."""

    key: str
    tier: str
    nbytes: int
    copies: int
    metadata: tuple[tuple[str, str], ...] = ()
    """Fields and their values as text, the first few, cut to a length that a screen can show."""
    more_fields: int = 0
    """How many fields are left out."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """The first keys of those that match; `total` is how many do, as far as that is known."""

    rows: tuple[KeyRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """A plugin of this process that hears of experiences."""

    name: str
    failures: int


class SnapshotSource(Protocol):
    """Calls may block for seconds, and raise errors of ours. Thread-safe."""

    @property
    def name(self) -> str:
        """What is looked at, for the headline."""

    def snapshot(self) -> Snapshot:
        """How it is now. Raises `NothingRuns`, or another error of ours where there is no answer."""

    def keys(self, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
        """Keys that begin with the prefix and whose metadata match. Raises `InvalidQuery` and the like."""

    def close(self) -> None:
        """Give back what it holds. Twice is fine."""
