"""`INFO`: what this host is and has."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

_NVIDIA_SMI_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class GPU:
    """One graphics processor."""

    index: int
    name: str
    total_memory_bytes: int
    used_memory_bytes: int


class INFO:
    """System, memory, swap and GPUs of this host, as of the construction or the last `refresh`.

    Each value is an attribute; `display_info` is text for people, `as_dict` for programs.

    Examples:
        >>> info = INFO()
        >>> isinstance(info.display_info(), str) and len(info.as_dict()) > 5
        True
    """

    def __init__(self) -> None:
        self.system = platform.system()
        self.node = platform.node()
        self.release = platform.release()
        self.version = platform.version()
        self.machine = platform.machine()
        self.processor = platform.processor() or platform.machine()
        self.python_version = platform.python_version()
        self.boot_time_s = psutil.boot_time()
        self.refresh()

    def refresh(self) -> None:
        """Read what changes anew."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        self.taken_s = time.time()
        self.physical_cores = psutil.cpu_count(logical=False)
        self.logical_cores = psutil.cpu_count()
        self.usable_cores = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.logical_cores
        )
        self.total_memory_bytes = int(memory.total)
        self.available_memory_bytes = int(memory.available)
        self.used_memory_bytes = int(memory.used)
        self.memory_percent = float(memory.percent)
        self.total_swap_bytes = int(swap.total)
        self.used_swap_bytes = int(swap.used)
        self.free_swap_bytes = int(swap.free)
        self.swap_percent = float(swap.percent)
        self.gpus = find_gpus()

    def as_dict(self) -> dict[str, Any]:
        """Every attribute by name, of plain types only."""
        return {**vars(self), "gpus": [asdict(gpu) for gpu in self.gpus]}

    def display_info(self) -> str:
        """A text of several lines."""
        lines = [
            ("System", f"{self.system} {self.release} ({self.machine})"),
            ("Host", self.node),
            ("Processor", self.processor),
            (
                "Cores",
                f"{self.physical_cores or '?'} physical, {self.logical_cores} logical, "
                f"{self.usable_cores} usable",
            ),
            ("Python", self.python_version),
            (
                "Memory",
                _usage(self.used_memory_bytes, self.total_memory_bytes, self.memory_percent)
                + f", {_gb(self.available_memory_bytes)} available",
            ),
            (
                "Swap",
                _usage(self.used_swap_bytes, self.total_swap_bytes, self.swap_percent)
                if self.total_swap_bytes
                else "none",
            ),
        ]
        for gpu in self.gpus:
            percent = 100 * gpu.used_memory_bytes / gpu.total_memory_bytes if gpu.total_memory_bytes else 0.0
            usage = _usage(gpu.used_memory_bytes, gpu.total_memory_bytes, percent)
            lines.append((f"GPU {gpu.index}", f"{gpu.name}, {usage}"))
        if not self.gpus:
            lines.append(("GPU", "none"))
        return "\n".join(f"{name + ':':<11}{value}" for name, value in lines)

    def __repr__(self) -> str:
        return f"<INFO of {self.node}: {_gb(self.total_memory_bytes)} memory, {len(self.gpus)} GPUs>"


def find_gpus() -> tuple[GPU, ...]:
    """The GPUs of this host: as the NVIDIA driver tells, or torch, if something has imported it already
    (it takes seconds to import and is not worth it for this). None where nobody can tell."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        query = "--query-gpu=index,name,memory.total,memory.used"
        try:
            answer = subprocess.run(
                [tool, query, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=_NVIDIA_SMI_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return ()
        return parse_nvidia_smi(answer.stdout)
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(GPU(index, torch.cuda.get_device_name(index), int(total), int(total - free)))
    return tuple(found)


def parse_nvidia_smi(answer: str) -> tuple[GPU, ...]:
    """The GPUs in the answer of nvidia-smi: lines of index, name, MiB in all, MiB in use. A line that
    says something else (a GPU that is being reset) is left out."""
    found = []
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        try:
            index, *name, total, used = fields
            found.append(GPU(int(index), ", ".join(name), int(total) * 2**20, int(used) * 2**20))
        except ValueError:
            continue
    return tuple(found)


def _gb(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GB"


def _usage(used: int, total: int, percent: float) -> str:
    return f"{_gb(used)} of {_gb(total)} used ({percent:.1f}%)"
