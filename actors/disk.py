"""`Disk`: which folder of a node is this tier's own, and the newest epoch that it has seen.

A node's name in Ray changes whenever Ray restarts; what lies on its disk does not. So a durable tier is
known by its folder: it takes the first folder of the cluster on this machine that nobody else has
locked, and its member id comes from there.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
import uuid
from pathlib import Path

from ..durable import make_private_folder, replacing
from ..errors import CorruptData
from ..reserve import Reserve

MAX_DISKS = 256
_RESERVE_BYTES = 64 << 10
"""Kept back for the epoch: a disk that could not note it would take no command, not even to delete."""


class Disk:
    """A locked folder with an identity. The lock ends with the process."""

    def __init__(self, root: Path) -> None:
        make_private_folder(root)
        self.folder, self._lock = _take_free_folder(root)
        self._file = self.folder / "member.json"
        self._noting = threading.Lock()
        self._reserve = Reserve(self.folder / "member.reserve")
        self._reserve.take(_RESERVE_BYTES)
        if self._file.exists():
            try:
                stored = json.loads(self._file.read_text())
                self.identity, self.epoch = str(stored["identity"]), int(stored["epoch"])
            except (ValueError, KeyError, TypeError) as error:
                raise CorruptData(
                    f"{self._file} cannot be read: {error}; move the folder away to start anew"
                ) from error
        else:
            self.identity, self.epoch = uuid.uuid4().hex, 0
            self._write(self.epoch)

    def raise_epoch(self, epoch: int) -> None:
        """Note that a coordinator of this epoch was obeyed. On stable storage when it returns."""
        with self._noting:
            if epoch > self.epoch:
                self._reserve.take(_RESERVE_BYTES)
                self._reserve.used_for(lambda: self._write(epoch))
                self.epoch = epoch  # not before: nobody is obeyed until it is noted

    def _write(self, epoch: int) -> None:
        with replacing(self._file) as file:
            file.write(json.dumps({"identity": self.identity, "epoch": epoch}).encode())

    def release(self) -> None:
        """Give the folder up."""
        os.close(self._lock)


def _take_free_folder(root: Path) -> tuple[Path, int]:
    for number in itertools.count():
        folder = root / f"disk-{number}"
        folder.mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "member.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if number >= MAX_DISKS:
                raise
            continue
        return folder, descriptor
    raise AssertionError("count() does not end")
