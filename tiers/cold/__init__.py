"""Blobs on a local disk: crash-consistent, checksummed, readable by parts.

Large blobs are files of their own (Arrow IPC, Parquet, HDF5 or Zarr); small ones and every change go
into append-only segments that are committed with one fsync a batch. `ColdBlobs` is the entrance.
"""

from __future__ import annotations

from .cold_blobs import SMALL_BYTES, ColdBlobs
from .collection import without_collection
from .value_file import read_value

__all__ = ["SMALL_BYTES", "ColdBlobs", "read_value", "without_collection"]
