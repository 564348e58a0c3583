"""Writers, faults and the final count for the chaos tests of replay."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.replay import Replay
from memories.errors import MemoriesError
from memories.replay import Schema

SCHEMA = Schema({"row": "int64", "twice": "int64"})
BATCH = 50
FLUSH_EVERY = 10
NEW_PRIORITY = 0.5


class RowWriter:
    """Pushes numbered rows, and says in a file which are acknowledged: a line is written after each flush."""

    def __init__(self, replay: Replay, path: str) -> None:
        self._writer = replay.writer()
        self._path = path

    def pid(self) -> int:
        return os.getpid()

    def push(self, start: int, stop: int) -> int:
        """Push rows start to stop; returns when all are acknowledged."""
        with Path(self._path).open("a") as log:
            flushed = start
            for n, first in enumerate(range(start, stop, BATCH), 1):
                rows = np.arange(first, min(first + BATCH, stop))
                self._writer.add_batch({"row": rows, "twice": 2 * rows}, NEW_PRIORITY)
                if n % FLUSH_EVERY == 0 or first + BATCH >= stop:
                    self._writer.flush(180)
                    log.write(f"{flushed} {first + len(rows)}\n")
                    log.flush()
                    flushed = first + len(rows)
        return stop - start


@dataclass
class Chaos:
    """Faults at random, one after the other, each only where every shard has its backup in sync."""

    ray_cluster: RayCluster
    replay: Replay
    namespace: str
    rng: random.Random
    writers: dict[int, Any]
    nodes: list[Any]
    stopped: list[tuple[float, int]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def in_sync(self) -> bool:
        """Every shard has primary and backup in the recorded layout, and both of them know it."""
        try:
            stats = self.replay.stats(timeout_s=5)
        except MemoriesError:
            return False
        views = {view.shard: view for view in stats.layout.shards}
        answers = [*stats.shards, *stats.backups]
        return (
            not self.stopped
            and len(stats.shards) == len(stats.backups) == len(views)
            and all(view.backup is not None for view in views.values())
            and all(answer.view_number == views[answer.shard].number for answer in answers)
        )

    def tick(self) -> None:
        """Let stopped processes go on when their time has come, those that were not replaced meanwhile."""
        for due_s, pid in list(self.stopped):
            if time.monotonic() >= due_s:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                self.stopped.remove((due_s, pid))

    def inject(self, kind: str) -> None:
        views = self.replay._router.refresh().shards
        view = self.rng.choice(views)
        assert view.primary is not None
        assert view.backup is not None
        match kind:
            case "kill primary":
                os.kill(self.pid_of(view.primary.actor), signal.SIGKILL)
            case "kill backup":
                os.kill(self.pid_of(view.backup.actor), signal.SIGKILL)
            case "stop primary" | "stop backup":
                target = view.primary if kind == "stop primary" else view.backup
                pid = self.pid_of(target.actor)
                os.kill(pid, signal.SIGSTOP)
                self.stopped.append((time.monotonic() + self.rng.choice([0.5, 2.0, 6.0]), pid))
            case "kill writer":
                number = self.rng.choice(sorted(self.writers))
                os.kill(ray.get(self.writers.pop(number).pid.remote(), timeout=60), signal.SIGKILL)
            case "raylet":
                self.ray_cluster.remove_node(self.nodes.pop(), allow_graceful=False)
        self.done.append(kind)

    def pid_of(self, actor: str) -> int:
        handle = ray.get_actor(actor, self.namespace)
        return int(ray.get(handle.__ray_call__.remote(lambda _self: os.getpid()), timeout=60))


def acknowledged(paths: list[Path]) -> set[int]:
    """The rows that writers have written down as acknowledged."""
    found: set[int] = set()
    for path in paths:
        for line in path.read_text().splitlines():
            start, stop = line.split()
            found.update(range(int(start), int(stop)))
    return found


def contents(replay: Replay, namespace: str, role: str = "primary") -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and their priorities, shard by shard, as the primaries (or the backups) hold them."""

    def read(shard: Any) -> Any:
        buffer = shard._core.rows.buffer
        handles = buffer.handles()
        batch, _ = buffer.read(handles)
        if "twice" in batch:
            assert (batch["twice"] == 2 * batch["row"]).all()
        order = np.argsort(handles)
        return batch["row"][order], buffer.priorities_of(handles)[order]

    found = []
    for view in replay._router.refresh().shards:
        replica = getattr(view, role)
        handle = ray.get_actor(replica.actor, namespace)
        found.append(ray.get(handle.__ray_call__.remote(read), timeout=60))
    return found
