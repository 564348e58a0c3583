"""`memories doctor`: is this machine fit to run Memories, and what to do where it is not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

State = Literal["ok", "warning", "error"]

GIB = 1024**3
MIN_FREE_RAM_BYTES = 2 * GIB
MIN_FREE_DISK_BYTES = 5 * GIB
MIN_SHARED_MEMORY_SHARE = 0.3
"""Ray puts 30% of memory into its object store, which lies in shared memory."""

EXTRAS = {
    "azure": "obstore",
    "gcs": "google.cloud.storage",
    "hdf5": "h5py",
    "zarr": "zarr",
    "plot": "matplotlib",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: its state, the fact, and what to do about it."""

    name: str
    state: State
    fact: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Run every check in turn. A check that breaks is a finding, not an exception."""
    for check in CHECKS:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 - the doctor reports whatever is wrong
            yield Finding(check.__name__.removeprefix("_"), "error", f"{type(error).__name__}: {error}")


def _python() -> Finding:
    fact = f"{platform.python_version()} at {sys.executable}"
    if sys.platform != "linux":
        return Finding("Python", "warning", f"{fact}, on {sys.platform}", "only Linux is tested")
    return Finding("Python", "ok", fact)


def _package(name: str, minimum: tuple[int, ...], advice: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "error", "not installed", advice)
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < minimum:
        return Finding(name, "error", f"{found} is older than {'.'.join(map(str, minimum))}", advice)
    return Finding(name, "ok", found)


def _ray() -> Finding:
    return _package("ray", (2, 60), "pip install 'ray[default]>=2.60'")


def _torch() -> Finding:
    return _package("torch", (2, 6), "pip install 'torch>=2.6'")


def _cuda() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("CUDA", "ok", "no CUDA device: hot memory uses the CPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free, total = torch.cuda.mem_get_info()
    return Finding(
        "CUDA", "ok", f"{', '.join(names)}; {free / GIB:.1f} of {total / GIB:.1f} GiB free on the first"
    )


def _free_ram() -> Finding:
    memory = psutil.virtual_memory()
    fact = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB available"
    if memory.available < MIN_FREE_RAM_BYTES:
        return Finding("RAM", "warning", fact, "end other programs, or give the tiers small budgets")
    return Finding("RAM", "ok", fact)


def _shared_memory() -> Finding:
    path = Path("/dev/shm")
    if not path.exists():
        return Finding(
            "shared memory", "warning", "no /dev/shm: Ray keeps its objects in /tmp, which is slow"
        )
    total = shutil.disk_usage(path).total
    wanted = int(psutil.virtual_memory().total * MIN_SHARED_MEMORY_SHARE)
    fact = f"/dev/shm has {total / GIB:.1f} GiB"
    if total < wanted:
        advice = (
            f"Ray wants {wanted / GIB:.1f} GiB; in a container start it with --shm-size={wanted // GIB + 1}g"
        )
        return Finding("shared memory", "warning", fact, advice)
    return Finding("shared memory", "ok", fact)


def _object_store() -> Finding:
    shared = Path("/dev/shm")
    memory_bytes = psutil.virtual_memory().total
    size = int(memory_bytes * MIN_SHARED_MEMORY_SHARE)
    if shared.exists():
        size = min(size, int(shutil.disk_usage(shared).total * 0.95))
    fact = f"a local Ray would get {size / GIB:.1f} GiB; the warm tier uses at most half of it"
    if size < GIB // 2:
        return Finding("object store", "warning", fact, "pass object_store_memory= to ray.init or ray start")
    return Finding("object store", "ok", fact)


def _disk() -> Finding:
    from .paths import data_folder

    folder = data_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    fact = f"{free / GIB:.1f} GiB free for {folder}"
    if free < MIN_FREE_DISK_BYTES:
        return Finding("disk", "warning", fact, "free some, or set MEMORIES_HOME to a larger disk")
    return Finding("disk", "ok", fact)


def _memory_monitor() -> Finding:
    name = "memory monitor"
    named = os.environ.get("RAY_ADDRESS", "")
    if named.startswith("ray://"):
        # Only the GCS knows, and that is not what listens there.
        return Finding(name, "ok", f"Ray at {named} is asked by `memories doctor --cluster`")
    from .actors.memory_kills import memory_kills
    from .actors.session import running_here

    address = running_here() if named in ("", "auto", "local") else named
    if address is None:
        return Finding(name, "ok", "no Ray runs on this machine")
    kills = memory_kills(address)
    if not kills:
        return Finding(name, "ok", f"Ray at {address} has killed nothing for want of memory")
    ours = sorted({kill.actor for kill in kills if kill.actor})
    count = f"{len(kills)} process{'es' if len(kills) > 1 else ''}"
    fact = f"Ray at {address} has killed {count} for want of memory"
    if ours:
        fact += f", of ours: {', '.join(ours)}"
    advice = (
        "they start again, and copies are made anew, but values with one copy in memory are lost: give the "
        "tiers smaller budgets, or the nodes more memory"
    )
    return Finding(name, "warning", fact, advice)


def _extras() -> Finding:
    missing = [extra for extra, module in EXTRAS.items() if not _importable(module)]
    present = [extra for extra in EXTRAS if extra not in missing]
    fact = f"installed: {', '.join(present) or 'none'}"
    if missing:
        return Finding(
            "extras", "ok", fact, f"where you need them: pip install 'memories[{','.join(missing)}]'"
        )
    return Finding("extras", "ok", fact)


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _ray,
    _torch,
    _cuda,
    _free_ram,
    _shared_memory,
    _object_store,
    _disk,
    _memory_monitor,
    _extras,
)
