"""`Medium`: what a tier actor stores on: memory, a device, a disk or an object store, within its budget."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import ray

from ..errors import InvalidValue
from ..paths import data_folder
from ..tiers.blobs import BlobStore
from ..tiers.info import find_gpus
from .config import OBJECT_STORE_SHARE, ClusterConfig, glacier_config
from .core.model import MemberId
from .disk import Disk
from .gpu_share import budget_bytes, context_bytes, device_name
from .names import member_id
from .shared_blobs import SharedBlobs

HOST_SHARE_FOR_HOT = 0.5
"""Where hot memory lies in RAM, for want of a GPU, it takes at most this share of it."""
UNLIMITED_BYTES = 1 << 62
QUARANTINED = "quarantined"


@dataclass(slots=True)
class Medium:
    """A blob store with its member's identity. `disk` is set where the identity lies on a disk."""

    member: MemberId
    blobs: BlobStore
    capacity_bytes: int
    in_memory: bool
    disk: Disk | None = None
    folders: tuple[Path, ...] = ()
    """What `close(delete=True)` removes."""
    delete: Callable[[], None] | None = field(default=None)

    @property
    def epoch(self) -> int:
        """The newest epoch that the medium has seen."""
        return 0 if self.disk is None else self.disk.epoch

    @property
    def folder(self) -> Path:
        """A folder on the disk that matters here: the medium's own, or that of temporary files."""
        return self.disk.folder if self.disk is not None else Path(tempfile.gettempdir())

    def quarantine(self) -> None:
        """Put the folder aside, under a name that nobody takes."""
        if self.disk is not None:
            self.blobs.close()
            folder = self.disk.folder
            folder.rename(folder.with_name(f"{folder.name}.{QUARANTINED}-{self.disk.identity[:8]}"))

    def close(self, delete: bool) -> None:
        """Release the medium; with `delete`, remove what is on it."""
        if delete and self.delete is not None:
            self.delete()
        self.blobs.close()
        if self.disk is not None:
            self.disk.release()
        if delete:
            aside = () if self.disk is None else self.disk.folder.parent.glob(f"*.{QUARANTINED}-*")
            for folder in (*self.folders, *aside):
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):  # others still have theirs in it
                    folder.parent.rmdir()


def open_medium(cluster: str, node: str, tier: str, index: int, config: ClusterConfig) -> Medium:
    """The medium of one tier on this node. Blocks while a disk is recovered."""
    match tier:
        case "hot":
            return _hot(node, index, config)
        case "warm":
            capacity = min(config.warm_bytes, _share_of_object_store(node))
            return Medium(member_id(node, "warm"), SharedBlobs(), capacity, in_memory=True)
        case "cold":
            return _cold(cluster, config)
        case "glacier":
            return _glacier(cluster, config)
    raise InvalidValue(f"tier {tier!r} is not one of hot, warm, cold, glacier")


def _hot(node: str, index: int, config: ClusterConfig) -> Medium:
    import torch

    from ..tiers.hot import HotBlobs

    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(device_name(config.device, index, visible))
    if device.type == "cuda":
        number = 0 if device.index is None else device.index
        before = next((g for g in find_gpus() if g.index == number), None)
        torch.zeros(1, device=device)  # makes the context
        free, _total = torch.cuda.mem_get_info(device)
        free_before = None if before is None else before.total_memory_bytes - before.used_memory_bytes
        capacity = budget_bytes(config.hot_bytes, int(free), context_bytes(free_before, int(free)))
    else:
        capacity = min(config.hot_bytes, int(psutil.virtual_memory().total * HOST_SHARE_FOR_HOT))
    blobs = HotBlobs({str(device): device}, None)
    return Medium(member_id(node, "hot", index), blobs, capacity, in_memory=True)


def _cold(cluster: str, config: ClusterConfig) -> Medium:
    from ..tiers.cold import ColdBlobs

    root = storage_root(cluster, config)
    disk = Disk(root)
    available = shutil.disk_usage(disk.folder).free + _held_bytes(disk.folder)
    blobs = ColdBlobs(disk.folder / "cold", **config.cold_options)
    return Medium(
        f"disk-{disk.identity}/cold",
        blobs,
        min(config.cold_bytes, available),
        in_memory=False,
        disk=disk,
        folders=(disk.folder,),
    )


def _glacier(cluster: str, config: ClusterConfig) -> Medium:
    settings = config.glacier or {}
    folder = storage_root(cluster, config) / "glacier"
    blobs = glacier_config(settings, folder).open_blobs()
    ours = settings.get("provider", "local") == "local" and "storage_path" not in settings
    folders = (folder,) if ours else ()
    return Medium(f"{cluster}/glacier", blobs, UNLIMITED_BYTES, in_memory=False, folders=folders)


def storage_root(cluster: str, config: ClusterConfig) -> Path:
    """Where the durable tiers of a cluster lie on a node: a folder of the user's, or one that a temporary
    cluster removes with itself. What a temporary one has left behind that was killed, nobody takes up."""
    if config.temporary:
        parent = Path(tempfile.gettempdir()) if config.storage_path is None else config.storage_path
        return parent / f"memories-{cluster}-{config.instance}"
    if config.storage_path is not None:
        return config.storage_path / cluster
    return data_folder() / "clusters" / cluster


def _held_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _share_of_object_store(node: str) -> int:
    """At most half of the node's object store; the rest belongs to the user's own objects."""
    for known in ray.nodes():  # type: ignore[no-untyped-call]
        if known["NodeID"] == node:
            return int(known["Resources"].get("object_store_memory", 0) * OBJECT_STORE_SHARE)
    return 0
