"""Writers that number their rows, and a learner that sets priorities, in the simulated replay cluster."""

from __future__ import annotations

import itertools

import numpy as np

from memories.actors.replay.core import events as ev
from memories.actors.replay.core.model import Layout
from memories.actors.replay.core.shard import Role

from .replay_world import NEW_PRIORITY, ROWS_A_BATCH, Process, ReplicaProcess, World

RESEND_S = 0.4


class Writer(Process):
    """Sends batches of rows that nobody else has, several at a time, and repeats what is not answered."""

    def __init__(self, world: World, name: str, batches: int, rows: itertools.count[int]) -> None:
        super().__init__(name, f"node of {name}")
        self._world, self._rows = world, rows
        self._left = batches
        self._layout = Layout(0)
        self._next: dict[int, int] = {}
        self._sent: dict[tuple[int, int], np.ndarray] = {}
        self.acknowledged: list[int] = []
        self.sent: list[int] = []
        self._step()

    @property
    def done(self) -> bool:
        return not self.alive or (self._left == 0 and not self._sent)

    def _step(self) -> None:
        if self.done:
            return
        if self._layout.open_shards and self._left and len(self._sent) < 6:
            self._left -= 1
            logical = self._world.rng.choice(self._layout.open_shards)
            number = self._next[logical] = self._next.get(logical, 0) + 1
            rows = np.array([next(self._rows) for _ in range(ROWS_A_BATCH)])
            self.sent.extend(rows.tolist())
            self._sent[logical, number] = rows
            self._send(logical, number)
        elif not self._layout.open_shards:
            self._look()
        self._world.after(self._world.rng.uniform(0.005, 0.06), self._step)

    def _look(self) -> None:
        self._layout = max(self._layout, self._world.layout, key=lambda layout: layout.number)

    def _send(self, logical: int, number: int) -> None:
        if not self.alive or (logical, number) not in self._sent:
            return
        world = self._world
        world.after(RESEND_S * world.rng.uniform(0.5, 2), lambda: self._again(logical, number))
        view = self._layout.view(self._layout.home_of(logical))
        process = world.replicas.get(view.primary.actor) if view and view.primary else None
        if process is None:
            return
        floor = min(n for key, n in self._sent if key == logical)
        columns = {"row": self._sent[logical, number]}
        priorities = np.full(ROWS_A_BATCH, NEW_PRIORITY)
        operation = ev.InsertRows(self.name, logical, number, floor, columns, priorities)
        world.ask(
            self,
            process,
            lambda call: ev.Propose(call, operation),
            lambda answer: self._hear(logical, number, answer),
        )

    def _again(self, logical: int, number: int) -> None:
        self._look()
        self._send(logical, number)

    def _hear(self, logical: int, number: int, answer: ev.Done | ev.NotPrimary) -> None:
        if isinstance(answer, ev.Done) and self.alive:
            assert answer.error is None
            rows = self._sent.pop((logical, number), None)
            if rows is not None:
                self.acknowledged.extend(rows.tolist())


class Learner(Process):
    """Reads rows with their handles from whoever says that it is primary, and answers much later."""

    def __init__(self, world: World) -> None:
        super().__init__("learner", "node of learner")
        self._world = world
        self.applied = 0
        self._step()

    def _step(self) -> None:
        world = self._world
        if not self.alive:
            return
        holders = [p for p in world.replicas.values() if p.alive and p.core.role is Role.PRIMARY]
        if holders:
            process = world.rng.choice(holders)
            world.deliver(self, process, lambda: self._sample(process))
        world.after(world.rng.uniform(0.01, 0.1), self._step)

    def _sample(self, process: ReplicaProcess) -> None:
        buffer = process.core.rows.buffer
        if process.core.role is not Role.PRIMARY or not len(buffer):
            return
        # The newest rows: those that a fail-over could take back.
        handles = buffer.handles()[-8:]
        rows = buffer.read(handles)[0]["row"]
        later_s = self._world.rng.choice([0.01, 0.1, 2.0, 6.0])
        self._world.deliver(
            process, self, lambda: self._world.after(later_s, lambda: self._update(handles, rows))
        )

    def _update(self, handles: np.ndarray, rows: np.ndarray) -> None:
        view = self._world.layout.view(int(handles[0]) >> 51)
        process = self._world.replicas.get(view.primary.actor) if view and view.primary else None
        if process is not None and self.alive:
            operation = ev.SetPriorities(handles, 1.0 + rows)
            self._world.ask(self, process, lambda call: ev.Propose(call, operation), self._hear)

    def _hear(self, answer: ev.Done | ev.NotPrimary) -> None:
        if isinstance(answer, ev.Done):
            self.applied += answer.result.applied
