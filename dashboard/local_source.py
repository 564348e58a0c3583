"""`LocalSource`: this process and its machine, without Ray: replay buffers, plugins, memory."""

from __future__ import annotations

import os
import platform
import shutil
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from .. import __version__
from ..actors.reports import PRIORITY_EDGES, Histogram
from ..actors.status import NodeStatus, ReplayStatus, Snapshot
from ..actors.summaries import Rates
from ..errors import InvalidValue
from ..replay.buffer import ReplayBuffer
from ..replay.living import living_buffers, living_managers
from ..tiers.machine import ram_bytes, ram_used_bytes
from .source import KeyList, PluginStatus

LOCAL_PHASE = "local"
"""The phase of a snapshot that is of no cluster."""


class LocalSource:
    """Looks at the process that it is in. Thread-safe as far as its one poller goes."""

    name = "this process"

    def __init__(self) -> None:
        self._rates = Rates()
        self._names: weakref.WeakKeyDictionary[ReplayBuffer, str] = weakref.WeakKeyDictionary()
        self._named: Counter[str] = Counter()
        self._started_s = psutil.Process().create_time()

    def snapshot(self) -> Snapshot:
        found = [buffer for buffer in living_buffers() if isinstance(buffer, ReplayBuffer)]
        buffers = sorted(found, key=lambda buffer: (-len(buffer), id(buffer)))
        replay = [self._buffer(self._name(buffer), buffer) for buffer in buffers]
        self._rates.keep(status.name for status in replay)
        return Snapshot(
            cluster=LocalSource.name,
            taken_s=time.time(),
            nodes=(_host(),),
            version=__version__,
            phase=LOCAL_PHASE,
            started_s=self._started_s,
            replay=tuple(replay),
        )

    def keys(self, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
        return KeyList((), 0)

    def close(self) -> None:
        pass

    def _name(self, buffer: ReplayBuffer) -> str:
        """The same as long as the buffer lives, and no other's after it: the courses over time go by it."""
        name = self._names.get(buffer)
        if name is None:
            kind = type(buffer).__name__
            self._named[kind] += 1
            name = kind if self._named[kind] == 1 else f"{kind} {self._named[kind]}"
            self._names[buffer] = name
        return name

    def _buffer(self, name: str, buffer: ReplayBuffer) -> ReplayStatus:
        inserted, sampled = buffer.inserted, buffer.sampled
        rates = self._rates.note(name, time.monotonic(), inserted, sampled)
        rows = len(buffer)
        return ReplayStatus(
            name=name,
            kind="in this process",
            rows=rows,
            capacity=buffer.capacity or 0,
            nbytes=rows * _row_nbytes(buffer),
            capacity_bytes=0,
            inserted=inserted,
            sampled=sampled,
            inserts_per_s=rates[0],
            samples_per_s=rates[1],
            priorities=_priorities(buffer),
        )


def plugin_statuses() -> tuple[PluginStatus, ...]:
    """The plugins of this process, by name."""
    found = [
        PluginStatus(type(plugin).__name__, manager.failures(plugin))
        for manager in living_managers()
        for plugin in manager.plugins
    ]
    return tuple(sorted(found, key=lambda plugin: plugin.name))


def _row_nbytes(buffer: ReplayBuffer) -> int:
    schema = buffer.schema
    return sum(int(np.prod(spec.shape)) * spec.dtype.itemsize for spec in schema) if schema is not None else 0


def _priorities(buffer: ReplayBuffer) -> Histogram:
    if not len(buffer):
        return Histogram()
    try:
        return Histogram.of(buffer.priorities_of(buffer.handles()), PRIORITY_EDGES)
    except InvalidValue:
        return Histogram()  # it has none


def _host() -> NodeStatus:
    total = ram_bytes()
    disk = shutil.disk_usage(Path.cwd())
    return NodeStatus(
        node=f"process {os.getpid()}",
        name=platform.node(),
        online=True,
        used_bytes=int(psutil.Process().memory_info().rss),
        capacity_bytes=total,
        head=True,
        memory_used_bytes=ram_used_bytes(),
        memory_total_bytes=total,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        cpu_percent=psutil.cpu_percent(),
        cpus=psutil.cpu_count() or 1,
        gpus=(),
    )
