"""`Replay`: one process's handle of a replay buffer on the cluster."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidValue
from ...replay.batch import Batch
from ...replay.buffer import UpdateResult
from ...replay.handles import as_handles, shard_of
from ...replay.priorities import check_priorities
from ...replay.schedules import Schedule
from ...replay.schema import Schema
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S, MAX_BACKOFF_S, Deadline
from . import checkpoint
from .archive import ReplayArchive
from .core import events as ev
from .core.model import Layout
from .priority_updater import PriorityUpdater
from .queue_reader import QueueReader
from .routing import Router, result_of
from .sampler import PREFETCH_BYTES, ReplaySampler
from .shard_actor import ShardStats
from .spec import ReplaySpec
from .writer import ReplayWriter

if TYPE_CHECKING:
    from ..memory_manager import MemoryManager

TIMEOUT_S = 60.0
CHECKPOINT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class ReplayStats:
    """A buffer in figures. `shards`: the primaries that answered; `backups` likewise."""

    name: str
    rows: int
    capacity: int
    inserted: int
    sampled: int
    shards: tuple[ShardStats, ...]
    backups: tuple[ShardStats, ...]
    layout: Layout

    @property
    def degraded(self) -> tuple[int, ...]:
        """Shards without a primary that answered, or whose backup is not there now."""
        answered = {shard.shard for shard in self.shards}
        return tuple(
            view.shard
            for view in self.layout.shards
            if view.shard not in answered
            or (view.backup is None and bool(self.backups or view.candidate is not None))
        )


class Replay:
    """A sharded, replicated replay buffer. Picklable: use it in tasks and actors. Thread-safe; the writers
    and samplers that it makes are not: each belongs to one thread of one process.

        replay = cluster.replay("pong", schema=Schema.from_env(env), kind="prioritized", shards=4, replicas=2)
        with replay.writer() as writer:
            writer.add(obs=..., action=...)
        for batch in replay.sampler(batch_size=256):
            replay.update_priorities(batch.handles, td_errors)
    """

    def __init__(self, cluster: str, namespace: str, spec: ReplaySpec) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.spec = spec
        self._router = Router(cluster, namespace, spec.name)
        self._taking = threading.Lock()
        self._reader: QueueReader | None = None  # keeps what came of a `sample` whose time was up

    def __reduce__(self) -> tuple[Any, ...]:
        return Replay, (self._cluster, self._namespace, self.spec)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def schema(self) -> Schema:
        return self.spec.schema

    def writer(
        self,
        *,
        batch_size: int = 64,
        n_step: int | None = None,
        gamma: float | None = None,
        num_envs: int = 1,
    ) -> ReplayWriter:
        """A writer for this process, which numbers its batches and repeats them until they are taken.

        With ``n_step`` and ``gamma`` it takes environment steps and writes transitions over n steps, with
        one column more, ``discount`` (see `NStepWriter`).
        """
        return ReplayWriter(
            self._router, self.spec, batch_size=batch_size, n_step=n_step, gamma=gamma, num_envs=num_envs
        )

    def sampler(
        self,
        batch_size: int = 256,
        *,
        beta: float | Schedule | None = None,
        prefetch: int = 2,
        device: Any = None,
        seed: int | None = None,
        prefetch_bytes: int = PREFETCH_BYTES,
        **options: Any,
    ) -> ReplaySampler | QueueReader:
        """An endless iterator of batches for this process (see `ReplaySampler`).

        Of a queue or a stack a `QueueReader`, which takes the rows that it gives; it draws nothing, so
        `beta` and `seed` are not for it, and it fetches one batch fewer ahead than `prefetch`.
        """
        if self.spec.ordered:
            if beta is not None or seed is not None:
                raise InvalidValue(f"A {self.spec.kind} draws nothing at random: leave out beta and seed.")
            return QueueReader(
                self._router, self.spec, batch_size, prefetch=prefetch, device=device, **options
            )
        return ReplaySampler(
            self._router,
            self.spec,
            batch_size,
            beta=beta,
            prefetch=prefetch,
            device=device,
            seed=seed,
            prefetch_bytes=prefetch_bytes,
            **options,
        )

    def sample(self, batch_size: int, *, beta: float | None = None, timeout_s: float = TIMEOUT_S) -> Batch:
        """One batch, drawn now (of a queue or a stack: taken). A sampler is many times faster for many."""
        if self.spec.ordered:
            with self._taking:
                if self._reader is None:
                    self._reader = QueueReader(self._router, self.spec, 1)
                return self._reader.take(batch_size, timeout_s)
        sampler = self.sampler(batch_size, beta=beta, prefetch=1, batches_a_call=1, timeout_s=timeout_s)
        with sampler:
            return next(sampler)

    def priority_updater(self) -> PriorityUpdater:
        """Many updates in flight together; its `flush` waits until all are acknowledged.

        For learners whose pace matters: `update_priorities` waits for the answer every time.
        """
        self._check_prioritized()
        return PriorityUpdater(self._router)

    def _check_prioritized(self) -> None:
        if not self.spec.prioritized:
            raise InvalidValue(f'replay buffer {self.name!r} has no priorities: make it kind="prioritized".')

    def update_priorities(
        self, handles: Any, priorities: Any, *, timeout_s: float = TIMEOUT_S
    ) -> UpdateResult:
        """Set the priorities of sampled rows; handles of rows that are gone count as stale.

        Acknowledged by the backups as well. Repeating is harmless; where a handle is repeated, the last
        priority stands.
        """
        self._check_prioritized()
        named = as_handles(handles)
        given = check_priorities(priorities, named.size)
        deadline = Deadline.after(timeout_s, f"updating {named.size} priorities")
        shards = shard_of(named)
        todo = {int(shard): shards == shard for shard in np.unique(shards)}
        applied, backoff_s = 0, FIRST_BACKOFF_S
        while todo:
            calls = {}
            for shard, mine in list(todo.items()):
                if self._router.layout().view(shard) is None:
                    del todo[shard]  # its rows are gone: stale
                elif (actor := self._router.primary(shard)) is not None:
                    calls[shard] = actor.update.remote(named[mine], given[mine])
            for shard, call in calls.items():
                answer = result_of(call, min(ATTEMPT_S, deadline.remaining_s()))
                if isinstance(answer, ev.Done):
                    if answer.error is not None:
                        raise answer.error
                    applied += answer.result.applied
                    del todo[shard]
                elif isinstance(answer, ev.NotPrimary):
                    self._router.learn_view(answer)
            if todo:
                time.sleep(min(backoff_s, deadline.remaining_s()))
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
                self._router.refresh(deadline.remaining_s())
        return UpdateResult(applied, int(named.size) - applied)

    def checkpoint(self, path: str | Path, *, timeout_s: float = CHECKPOINT_TIMEOUT_S) -> int:
        """Write everything into the folder `path`, on this machine; returns how many rows that is.

        Each shard is saved as it is at one moment, while inserting and sampling go on. The folder's earlier
        checkpoint is replaced only when the new one is complete. Nothing in it is a pickle.
        """
        return checkpoint.save(self._router, self.spec, path, timeout_s)

    def restore(self, path: str | Path, *, timeout_s: float = CHECKPOINT_TIMEOUT_S) -> int:
        """Hold what a checkpoint has, in place of all rows; returns how many that is.

        With the same number of shards handles, counters and random generators are as they were; with
        another, rows and priorities are, spread evenly, and handles are new. Raises `CorruptData` and
        `InvalidValue` before anything is replaced. Writers and samplers should rest meanwhile.
        """
        return checkpoint.restore(self._router, self.spec, path, timeout_s)

    def archive(self, memory: MemoryManager) -> ReplayArchive:
        """Old rows of this buffer in the tiers of the cluster (``cluster.memory()``), and the way back."""
        return ReplayArchive(self._router, self.spec, memory)

    def add_shards(self, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> None:
        """More shards, each with the capacity of the others. Rows that are stored stay where they are."""
        deadline = Deadline.after(timeout_s, f"adding {count} shards")
        if count < 1:
            raise InvalidValue(f"count is {count} shards, must be at least 1.")
        self._router.ask_directory(deadline, "add_shards", self.name, count)
        self._router.ask_directory(deadline, "wait_ready", self.name, timeout_s)
        self._router.refresh(deadline.remaining_s())

    def drain_shard(self, shard: int, *, timeout_s: float = CHECKPOINT_TIMEOUT_S) -> None:
        """Move a shard's rows to the others, with their priorities, and end it. Writers and samplers go on.

        Moved rows get new handles: priorities for the old ones count as stale. Where the other shards have
        no room their oldest rows leave.
        """
        if (self.spec.max_times_sampled or 1) > 1:
            raise InvalidValue(
                f"replay buffer {self.name!r} gives each row {self.spec.max_times_sampled} times, and how "
                "often it was given does not move with it: let readers empty the buffer, and make it anew."
            )
        deadline = Deadline.after(timeout_s, f"draining shard {shard} of replay buffer {self.name!r}")
        self._router.ask_directory(deadline, "drain_shard", self.name, shard)
        while self._router.refresh(deadline.remaining_s()).view(shard) is not None:
            time.sleep(min(0.05, deadline.remaining_s()))

    def stats(self, *, timeout_s: float = ATTEMPT_S) -> ReplayStats:
        """Every shard in figures; those that do not answer in time are left out."""
        layout = self._router.refresh(timeout_s)
        primaries = self._stats_of([v.primary.actor for v in layout.shards if v.primary], timeout_s)
        backups = self._stats_of([v.backup.actor for v in layout.shards if v.backup], timeout_s)
        return ReplayStats(
            name=self.name,
            rows=sum(s.rows for s in primaries),
            capacity=sum(s.capacity for s in primaries),
            inserted=sum(s.inserted for s in primaries),
            sampled=sum(s.sampled for s in primaries),
            shards=tuple(primaries),
            backups=tuple(backups),
            layout=layout,
        )

    def _stats_of(self, names: list[str], timeout_s: float) -> list[ShardStats]:
        actors = [actor for name in names if (actor := self._router.actor(name)) is not None]
        calls = [actor.stats.remote() for actor in actors]
        ends_s = time.monotonic() + timeout_s
        answers = [result_of(call, max(0.001, ends_s - time.monotonic())) for call in calls]
        return [answer for answer in answers if isinstance(answer, ShardStats)]

    def __len__(self) -> int:
        """Rows in all shards now."""
        return self.stats().rows

    def delete(self, *, timeout_s: float = TIMEOUT_S) -> None:
        """End the buffer's actors, for everybody. Its rows are gone."""
        self._router.ask_directory(Deadline.after(timeout_s, "deleting a replay buffer"), "remove", self.name)

    def __repr__(self) -> str:
        return f"<Replay {self.name!r} of cluster {self._cluster!r}, {self.spec.kind}>"
