"""`ClusterSnapshots`: everything that a cluster holds, in one file, and back.

A snapshot is a point in time, whatever writers do meanwhile: see `cuts`. Every value is compared with the
version that it had at that moment. Where one has changed before it was read (the cut was released, because
a writer had waited too long), the snapshot is begun anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..durable import make_private_folder, replacing
from ..errors import InvalidValue, KeyNotFound, MemoriesError, Unavailable
from ..paths import data_folder
from ..tiers.blobs import Blob
from ..tiers.encoded import Encoded
from ..tiers.progress import Progress
from ..tiers.snapshots import SnapshotInfo, SnapshotReader, write_snapshot
from .client import MemoryClient
from .core.model import StoreOptions
from .cuts import Cut

log = logging.getLogger(__name__)

BATCH_KEYS = 256
BATCH_BYTES = 16 << 20
"""A writer that waits for a key waits for one batch at most before the key's own."""
TRIES = 3
SUFFIX = ".memories"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot in the snapshot folder."""

    id: str
    path: Path
    description: str
    created_s: float
    keys: int


class _CutBrokenError(Exception):
    """A value is not any more what it was at the moment of the cut."""


class ClusterSnapshots:
    """Takes and restores snapshots through one client. `folder` keeps those that are known by an id."""

    def __init__(self, client: MemoryClient, folder: Path) -> None:
        self._client = client
        self.folder = folder

    def create(self, path: Path | None, description: str) -> tuple[str, SnapshotInfo]:
        """Write a snapshot to a file, or under a new id into the folder; the id or the path."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        if path is None:
            make_private_folder(self.folder)
        target = path if path is not None else self.folder / f"{name}{SUFFIX}"
        for left in reversed(range(TRIES)):
            try:
                info = self._write(target, description)
                break
            except _CutBrokenError as error:
                if not left:
                    raise Unavailable(
                        f"no snapshot: {error}, {TRIES} times in a row. Writers wait for a snapshot for a "
                        "bounded time; take it while they write less, or where the data can be read faster"
                    ) from None
        return (name if path is None else str(path)), info

    def _write(self, target: Path, description: str) -> SnapshotInfo:
        cut = self._client.begin_cut()
        try:
            with replacing(target) as file:
                blobs = self._blobs(cut)
                info = write_snapshot(file, blobs, description=description, created_s=cut.taken_s)
        finally:
            with contextlib.suppress(MemoriesError):  # then its lease ends it
                self._client.read_cut(cut, (), last=True)
        return info

    def restore(self, source: str | Path, keys: Sequence[str] | None, allow_pickle: bool) -> list[str]:
        """Store what a snapshot holds, after all of it was verified; the keys. What is not in it stays."""
        restored = []
        with SnapshotReader(self._find(source), allow_pickle=allow_pickle) as snapshot:
            now_s = time.time()
            wanted = snapshot.info.entries if keys is None else len(keys)
            with Progress("Restoring a snapshot", wanted, unit="keys") as progress:
                for group in _groups(b for b in snapshot.blobs(keys) if not b.record.expired(now_s)):
                    self._store(group)
                    restored += [blob.record.key for blob in group]
                    progress.advance(len(group))
        return restored

    def list(self) -> list[SnapshotFile]:
        """The snapshots of the folder, the oldest first."""
        return snapshots_in(self.folder)

    def _find(self, source: str | Path) -> Path:
        for path in (Path(source), self.folder / f"{source}{SUFFIX}"):
            if path.is_file():
                return path
        raise KeyNotFound(
            f"there is no snapshot {str(source)!r}: no such file, and no such id in {self.folder}; "
            "list_snapshots() lists the ids"
        )

    def _blobs(self, cut: Cut) -> Iterator[Blob]:
        """Every value of the cut, in its version; those first for which writers wait."""
        places = {key: place for place, key in enumerate(cut.keys)}
        left = dict.fromkeys(cut.keys)
        urgent: tuple[str, ...] = ()
        with Progress("Writing a snapshot", len(left), unit="keys") as progress:
            while left:
                batch = list(islice((key for key in urgent if key in left), BATCH_KEYS))
                batch = batch or list(islice(left, BATCH_KEYS))
                missing = dict.fromkeys(batch)
                for blob in self._client.blobs(batch, BATCH_BYTES):
                    key = blob.record.key
                    place = places[key]
                    if blob.record.version != (cut.epochs[place], cut.sequences[place]):
                        raise _CutBrokenError(f"{key!r} was overwritten before it was read")
                    del missing[key]
                    yield blob
                    progress.advance()
                now_s = time.time()
                for key in missing:
                    if cut.expires_s[places[key]] > now_s:
                        raise _CutBrokenError(f"{key!r} was deleted before it was read")
                for key in batch:
                    del left[key]
                urgent = self._client.read_cut(cut, batch)

    def _store(self, blobs: Sequence[Blob]) -> None:
        by_options: dict[StoreOptions, list[Blob]] = {}
        for blob in blobs:
            record = blob.record
            options = StoreOptions(
                node=self._client.node,
                replicas=record.replicas,
                durable=record.durable,
                allow_degraded=True,
                priority=record.priority,
                expires_s=record.expires_s,
                pinned=record.pinned,
            )
            by_options.setdefault(options, []).append(blob)
        for options, group in by_options.items():
            values = [Encoded(b.record.header, b.buffers, b.record.has_pickle) for b in group]
            metadata = [b.record.metadata for b in group]
            self._client.store_many([b.record.key for b in group], values, metadata, options)


def snapshot_folder(cluster: str) -> Path:
    """Where the snapshots of a cluster are that are known by an id, on this machine."""
    return data_folder() / "snapshots" / cluster


def snapshots_in(folder: Path) -> list[SnapshotFile]:
    """The snapshots of a folder, the oldest first; none where there is no folder. What cannot be read as one
    is left out, with a warning that names it."""
    found = []
    for path in sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file()):
        try:
            with SnapshotReader(path, allow_pickle=True) as snapshot:
                info = snapshot.info
        except (MemoriesError, OSError) as error:
            log.warning("%s is left out of the list of snapshots: %s", path, error)
            continue
        found.append(
            SnapshotFile(path.name.removesuffix(SUFFIX), path, info.description, info.created_s, info.entries)
        )
    return found


def _groups(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    group: list[Blob] = []
    nbytes = 0
    for blob in blobs:
        group.append(blob)
        nbytes += blob.record.nbytes
        if nbytes >= BATCH_BYTES or len(group) >= BATCH_KEYS:
            yield group
            group, nbytes = [], 0
    if group:
        yield group


def snapshot_path(path: Any) -> Path | None:
    """The file that a caller named, or None."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise InvalidValue(f"a snapshot path is a string or a path, not {path!r}")
    return Path(path)
