"""`Peer`: what a primary knows of its other replica."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .model import Replica
from .state_export import StateExport, StatePiece


class PeerMode(Enum):
    EMPTY = "empty"  # does not have all of the state yet; nobody waits for it
    JOINING = "joining"  # has the state; nothing is acknowledged without it any more
    BACKUP = "backup"


@dataclass(slots=True)
class Peer:
    """The other replica, as its primary sees it."""

    replica: Replica
    since_view: int
    mode: PeerMode
    acked: int
    sent: int
    sends: int = 0
    sent_s: float = float("-inf")
    joins_at: int = 0
    export: StateExport | None = None
    piece: StatePiece | None = None

    def end_export(self) -> None:
        """It has the state, or does not want it any more."""
        if self.export is not None:
            self.export.end()
            self.export = self.piece = None
