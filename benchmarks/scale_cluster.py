"""A coordinator core and simulated members that do at once what they are told; see `benchmarks.scale`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from memories.actors.core import commands as out
from memories.actors.core import events as ev
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.inventory import Inventory
from memories.actors.core.model import CoreConfig, MemberInfo

NEIGHBOURS = 16
"""The second copies of a node's keys lie on so many other nodes; lost nodes are farther apart than that, so
that no key loses both."""
BATCH = 64
VALUE_BYTES = 1000


class Cluster:
    """A coordinator core and members that do at once what they are told."""

    def __init__(self, nodes: int, keys: int) -> None:
        self.nodes = nodes
        self.keys_a_node = keys // nodes
        self.working_s = 0.0
        self.slowest_s = 0.0
        self.messages = 0
        self.replies = 0
        self.copies = 0
        self.transfers = 0
        self.core = CoordinatorCore("bench", lambda: 0.0, lambda: 1e9, CoreConfig())
        self.members = tuple(
            MemberInfo(f"n{node:04}/{tier}", f"n{node:04}", tier, 1, tier == "cold", 1 << 40)
            for node in range(nodes)
            for tier in ("warm", "cold")
        )
        self.lost: set[str] = set()

    def tell(self, event: ev.Event) -> None:
        """Give the core an event, and do all that follows."""
        self._carry_out(self.work(event))

    def work(self, event: ev.Event) -> Sequence[out.Command]:
        """One event, on the clock."""
        started_s = time.perf_counter()
        commands = self.core.handle(event)
        took_s = time.perf_counter() - started_s
        self.working_s += took_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.messages += 1
        return commands

    def _carry_out(self, commands: Sequence[out.Command]) -> None:
        queue = deque(commands)
        while queue:
            queue.extend(self._answer(queue.popleft()))

    def _answer(self, command: out.Command) -> Sequence[out.Command]:
        match command:
            case out.PersistView(view):
                return self.work(ev.ViewPersisted(view.number, 0.0))
            case out.CheckView(number, asked_s):
                return self.work(ev.ViewChecked(number, asked_s))
            case out.TakeInventory(fence):
                self.messages += 1
                inventory = self.inventory_of(fence.member)
                return self.work(
                    ev.InventoryReported(fence.member, fence.incarnation, fence.stamp, inventory)
                )
            case out.Reply():
                self.messages += 1
                self.replies += 1
                if command.outcomes is not None:
                    raise AssertionError(f"a request failed: {command}")
            case out.Stop():
                raise AssertionError(command.reason)
            case out.PutMany() | out.CopyMany() | out.DropMany() | out.MarkMany() | out.UpdateMany():
                self.messages += 1
                if isinstance(command, out.CopyMany):
                    self.copies += len(command.keys)
                    self.transfers += 1
                fence = command.fence
                if fence.member not in self.lost:
                    return self.work(ev.Done(fence.member, fence.incarnation, fence.stamp))
            case _:
                pass
        return ()

    def inventory_of(self, member: str) -> Inventory:
        """Keys number n * keys_a_node and on are those of node n; its neighbours have the second copies."""
        node, _, tier = member.partition("/")
        numbers = np.zeros(0, np.int64)
        if tier == "warm":
            place, size = int(node[1:]), self.keys_a_node
            own = np.arange(place * size, (place + 1) * size)
            others = []
            for distance in range(1, NEIGHBOURS + 1):
                first = (place - distance) % self.nodes * size
                theirs = np.arange(first, first + size)
                others.append(theirs[theirs % NEIGHBOURS == distance - 1])
            numbers = np.concatenate([own, *others])
        count = len(numbers)
        return Inventory(
            keys=[f"features/{number:08}" for number in numbers.tolist()],
            epochs=np.ones(count, np.int64),
            sequences=numbers // BATCH + 1,
            kinds=np.zeros(count, np.int8),
            sizes=np.full(count, VALUE_BYTES),
            replicas=np.full(count, 2, np.int16),
            durable=np.zeros(count, np.bool_),
            pinned=np.zeros(count, np.bool_),
            priorities=np.zeros(count),
            expires_s=np.full(count, np.nan),
            names=("writer",),
            client_rows=np.arange(count),
            client_names=np.zeros(count, np.int64),
            client_sequences=numbers // BATCH + 1,
        )
