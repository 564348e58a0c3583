"""What the machine of a tier actor has and uses, for the coordinator."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psutil

from ..tiers.machine import ram_bytes, ram_used_bytes
from .reports import GpuReport, HostReport


def report_host(disk: Path, reads: int, writes: int) -> HostReport:
    """One look: about 0.2 ms. `disk` is a folder on the disk in question."""
    free_bytes, disk_bytes = _disk(disk)
    return HostReport(
        memory_used_bytes=ram_used_bytes(),
        memory_total_bytes=ram_bytes(),
        cpu_percent=float(psutil.cpu_percent()),
        cpus=psutil.cpu_count() or 1,
        disk_free_bytes=free_bytes,
        disk_total_bytes=disk_bytes,
        gpus=_gpus(),
        reads=reads,
        writes=writes,
    )


def _disk(folder: Path) -> tuple[int, int]:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


def _gpus() -> tuple[GpuReport, ...]:
    """Those of this process, which is one that has imported torch for them."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(GpuReport(index, torch.cuda.get_device_name(index), int(total - free), int(total)))
    return tuple(found)
