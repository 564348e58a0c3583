"""`ClusterSnapshots`: everything that a cluster holds, in one file, and back.

Values are read in batches, each in the version that the coordinator names for the batch. A key that is
written while the snapshot is taken is in it in its old or its new version, whole; a snapshot of a cluster
whose writers pause is a point in time.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidValue, KeyNotFound
from ..paths import data_folder
from ..tiers.blobs import Blob
from ..tiers.encoded import Encoded
from ..tiers.progress import Progress
from ..tiers.snapshots import SnapshotInfo, SnapshotReader, write_snapshot
from .client import MemoryClient
from .core.model import StoreOptions

BATCH_KEYS = 256
BATCH_BYTES = 64 << 20
SUFFIX = ".memories"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot in the snapshot folder."""

    id: str
    path: Path
    description: str
    created_s: float
    keys: int


class ClusterSnapshots:
    """Takes and restores snapshots through one client. `folder` keeps those that are known by an id."""

    def __init__(self, client: MemoryClient, folder: Path) -> None:
        self._client = client
        self.folder = folder

    def create(self, path: Path | None, description: str) -> tuple[str, SnapshotInfo]:
        """Write a snapshot to a file, or under a new id into the folder; the id or the path."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        if path is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = path if path is not None else self.folder / f"{name}{SUFFIX}"
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with partial.open("xb") as file:
                info = write_snapshot(file, self._blobs(), description=description, created_s=time.time())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return (name if path is None else str(path)), info

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

    def _blobs(self) -> Iterator[Blob]:
        keys = self._client.keys()
        with Progress("Writing a snapshot", len(keys), unit="keys") as progress:
            for start in range(0, len(keys), BATCH_KEYS):
                for blob in self._client.blobs(keys[start : start + BATCH_KEYS], BATCH_BYTES):
                    yield blob
                    progress.advance()

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
    """The snapshots of a folder, the oldest first; none where there is no folder."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with SnapshotReader(path, allow_pickle=True) as snapshot:
            info = snapshot.info
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
