"""Snapshots: many blobs in one self-describing, checksummed file.

`write_snapshot` and `read_snapshot` work on iterators of blobs and know nothing of tiers; memory stays
bounded by the largest value. The file is an Arrow IPC stream, which any Arrow library reads, and a
trailer behind it; `layout` tells the format.
"""

from __future__ import annotations

from .layout import SnapshotInfo
from .reader import SnapshotReader, read_snapshot
from .writer import SnapshotWriter, write_snapshot

__all__ = ["SnapshotInfo", "SnapshotReader", "SnapshotWriter", "read_snapshot", "write_snapshot"]
