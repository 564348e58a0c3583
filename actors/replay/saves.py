"""`ShardSaves`: a shard's state as files that a client fetches in parts."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import KeyNotFound
from ...replay.persistence import PendingCheckpoint

KEEP_S = 600.0
"""A client that has not asked for so long does not come back."""


@dataclass(frozen=True, slots=True)
class SavedShard:
    """What `ReplayShard.save` made: `token` names it for `read_save` and `drop_save`."""

    shard: int
    token: int
    nbytes: int
    rows: int


class ShardSaves:
    """Files without names: whatever happens to this process, none is left behind. Not thread-safe."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[int, float]] = {}
        self._next = 1

    def keep(self, descriptor: int) -> int:
        """Take a file over; returns its token."""
        for token in [t for t, (_, used_s) in self._files.items() if time.monotonic() - used_s > KEEP_S]:
            self.drop(token)
        token, self._next = self._next, self._next + 1
        self._files[token] = (descriptor, time.monotonic())
        return token

    def descriptor(self, token: int) -> int:
        """The file of a token; raises `KeyNotFound` where it was dropped."""
        if token not in self._files:
            raise KeyNotFound(f"there is no saved state {token} here (any more); begin the checkpoint again")
        descriptor, _ = self._files[token]
        self._files[token] = (descriptor, time.monotonic())
        return descriptor

    def drop(self, token: int) -> None:
        """Forget a file. Twice is fine."""
        if token in self._files:
            os.close(self._files.pop(token)[0])


def write_nameless(pending: PendingCheckpoint, extra: Mapping[str, Any]) -> int:
    """Write a checkpoint and return the descriptor of its file, which has no name any more. For a thread."""
    with tempfile.TemporaryDirectory(prefix="memories-replay-") as folder:
        path = Path(folder) / "shard"
        pending.write(path, extra)
        return os.open(path, os.O_RDONLY)
