"""`run_seed`: one random history of a cluster. The same seed gives the same history, message by message."""

from __future__ import annotations

import random
from typing import Any

from memories.actors.core.client import Complete
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.events import DeleteMany, DrainNode, MoveMany, StoreMany, UpdateKeys
from memories.actors.core.model import Kind, Outcome, RequestId, StoreOptions

from .clients import ClientProcess
from .oracle import Operation, Violation
from .processes import CoordinatorProcess, TierProcess
from .world import MakeCore, World


class Failure(AssertionError):
    """A seed that failed, with its trace."""


class Scenario:
    """What clients do and what happens to the cluster, decided by the world's random generator."""

    def __init__(self, world: World, keys: int) -> None:
        self.world = world
        self.keys = [f"k{number}" for number in range(keys)]
        self.random: random.Random = world.network.random
        self.sent: list[StoreMany | DeleteMany] = []
        self.open = 0
        world.destructive = self.random.random() < 0.2
        world.media_fail = 0.01 if self.random.random() < 0.3 else 0.0
        world.network.quick = self.random.choice([0.97, 0.97, 0.7])
        faults = self.random.choice([0.0, 0.1, 0.25])
        self._weights = [1.0, faults]

    def step(self) -> None:
        """One event: something that a client does, or a fault; then some time passes."""
        act = self.random.choices([self._client, self._fault], self._weights)[0]
        act()
        self.world.network.run(self.random.choice([0.0005, 0.003, 0.02, 0.1, 0.5]))

    # -- clients ------------------------------------------------------------------------------------

    def _client(self) -> None:
        act = self.random.choices(
            [self._store, self._delete, self._read_some, self._move, self._repeat, self._update],
            [8, 3, 6, 2, 1, 2],
        )[0]
        act()

    def _keys(self) -> tuple[str, ...]:
        number = self.random.choice([1, 1, 1, 2, 4])
        return tuple(self.random.sample(self.keys, min(number, len(self.keys))))

    def _store(self) -> None:
        world, draw = self.world, self.random
        client = world.clients[draw.choice(list(world.clients))]
        keys = self._keys()
        asked = {
            "replicas": draw.choice([1, 2, 2, 2, 3]),
            "durable": draw.random() < 0.3,
        }
        degraded = draw.random() < 0.2
        tier = draw.choice([None, None, "warm", "cold"])
        options = StoreOptions(node=draw.choice(world.nodes), tier=tier, allow_degraded=degraded, **asked)
        request = client.core.next_request()
        operations = [world.oracle.begin(key, True, request, degraded=degraded, **asked) for key in keys]
        sizes = tuple(draw.choice([1, 100, 4000]) for _ in keys)
        event = StoreMany(request, keys, sizes, tuple(op.number for op in operations), options)
        self._send(client, event, operations)

    def _delete(self) -> None:
        world = self.world
        client = world.clients[self.random.choice(list(world.clients))]
        keys = self._keys()
        request = client.core.next_request()
        operations = [world.oracle.begin(key, False, request) for key in keys]
        self._send(client, DeleteMany(request, keys), operations)

    def _send(self, client: Any, event: StoreMany | DeleteMany, operations: list[Operation]) -> None:
        oracle = self.world.oracle
        self.sent.append(event)
        self.world.network.log(f"{client.name}: {type(event).__name__} {event.request} {event.keys}")

        def done(complete: Complete, _: dict[str, int]) -> None:
            self.open -= 1
            if complete.reply is None:
                raise Violation(f"{event.request} was not answered within an hour")
            outcomes = complete.reply.outcomes or (Outcome.OK,) * len(operations)
            self.world.network.log(f"{client.name}: {event.request} is answered {outcomes}")
            for operation, outcome in zip(operations, outcomes, strict=True):
                if outcome is Outcome.OK or (outcome is Outcome.MISSING and not operation.is_store):
                    oracle.acknowledge(operation)
                elif outcome is Outcome.UNKNOWN:
                    oracle.leave_open(operation)
                else:
                    oracle.fail(operation)

        self.open += 1
        client.start(lambda ticket: client.core.call(ticket, event, 3600.0), done)

    def _read_some(self) -> None:
        client = self.world.clients[self.random.choice(list(self.world.clients))]
        self._read(client, self._keys())

    def _read(self, client: ClientProcess, keys: tuple[str, ...]) -> list[Complete]:
        oracle = self.world.oracle
        possible = {key: oracle.begin_read(key) for key in keys}
        answered: list[Complete] = []

        def done(complete: Complete, values: dict[str, int]) -> None:
            answered.append(complete)
            for key, outcome in zip(keys, complete.outcomes, strict=True):
                oracle.end_read(key, possible[key], outcome, values.get(key))

        client.start(lambda ticket: client.core.read(ticket, keys, 30.0), done)
        return answered

    def _move(self) -> None:
        client = self.world.clients[self.random.choice(list(self.world.clients))]
        keys = self._keys()
        tier = self.random.choice(["warm", "cold"])
        event = MoveMany(client.core.next_request(), keys, tier)
        self.world.network.log(f"{client.name}: move {keys} to {tier}")
        client.start(lambda ticket: client.core.call(ticket, event, 30.0), lambda complete, values: None)

    def _update(self) -> None:
        """Another priority for a key; each number is said once."""
        oracle, network = self.world.oracle, self.world.network
        client = self.world.clients[self.random.choice(list(self.world.clients))]
        free = [key for key in self.keys if key not in oracle.updating]
        if not free:
            return
        key = self.random.choice(free)
        priority = oracle.begin_update(key)
        # Requests that run together have names of their own, as those of Ray's client.
        request = RequestId(f"{client.name}/updates", int(priority))
        event = UpdateKeys(request, (key,), {"priority": priority})
        network.log(f"{client.name}: {event.request} says priority {priority} of {key}")

        def done(complete: Complete, _: dict[str, int]) -> None:
            self.open -= 1
            if complete.reply is None:
                raise Violation(f"{event.request} was not answered within an hour")
            network.log(f"{client.name}: {event.request} is answered {complete.reply.outcomes}")
            oracle.end_update(key, priority, complete.reply.outcomes is None)

        self.open += 1
        client.start(lambda ticket: client.core.call(ticket, event, 3600.0), done)

    def _repeat(self) -> None:
        """A request of the last second turns up again, answered or not."""
        coordinator = self.world.coordinator_for_a_client()
        oracle, now = self.world.oracle, self.world.network.now
        recent = []
        for event in self.sent[-20:]:
            operations = oracle.by_request[event.request].values()
            answered_s = next(iter(operations)).answered_s
            if answered_s is None or (now - answered_s < 1.0 and all(op.acknowledged for op in operations)):
                recent.append(event)
        if recent and coordinator is not None:
            event = self.random.choice(recent)
            self.world.network.log(f"again: {event.request}")
            self.world.network.send("n0", coordinator, coordinator.on, event)

    # -- faults -------------------------------------------------------------------------------------

    def _fault(self) -> None:
        self.world.oracle.settle_faults()
        act = self.random.choices(
            [
                self._kill_tier,
                self._kill_node,
                self._kill_coordinator,
                self._stall_coordinator,
                self._stall_tier,
                self._cut_off,
                self._light_fuse,
                self._rot,
                self._drain,
                self._take_node_away,
            ],
            [4, 1, 2, 2, 2, 2, 4, 1, 0.5, 1],
        )[0]
        act()

    def _some_tier(self) -> TierProcess | None:
        lives = [life for life in self.world.lives() if not life.stalled]
        return self.random.choice(lives) if lives else None

    def _kill_tier(self) -> None:
        life = self._some_tier()
        if life is not None and self.world.may_die([life]):
            life.die()

    def _kill_node(self) -> None:
        node = self.random.choice(self.world.nodes[1:])
        lives = [life for life in self.world.lives() if life.node == node]
        if node not in self.world.down and self.world.may_die(lives):
            self.world.network.log(f"{node} goes down")
            self.world.down.add(node)
            for life in lives:
                life.die()
            self.world.network.after(self.random.choice([0.5, 4.0, 15.0]), self._node_returns, node)

    def _node_returns(self, node: str) -> None:
        self.world.down.discard(node)
        for tier in ("warm", "cold"):
            self.world.start_tier(f"{node}/{tier}")

    def _kill_coordinator(self) -> None:
        if self.world.coordinator is not None:
            self.world.coordinator.die()

    def _stall_coordinator(self) -> None:
        world, coordinator = self.world, self.world.coordinator
        if coordinator is not None and coordinator.alive and not coordinator.stalled:
            world.network.log(f"{coordinator.name} is stalled")
            coordinator.stalled = True
            world.network.after(self.random.uniform(0.2, 2.0), world.start_coordinator)
            world.network.after(self.random.uniform(0.1, 5.0), self._wake, coordinator)

    def _stall_tier(self) -> None:
        life = self._some_tier()
        if life is not None and self.world.may_die([life]):
            self.world.network.log(f"{life.name} is stalled")
            self.world.oracle.hit(self.world.oracle.endangered([life]))
            life.stalled = True
            self.world.network.after(self.random.uniform(0.1, 5.0), self._wake, life)

    def _wake(self, process: TierProcess | CoordinatorProcess) -> None:
        if process.alive:
            self.world.network.log(f"{process.name} wakes")
        process.wake()

    def _cut_off(self) -> None:
        world = self.world
        node = self.random.choice(world.nodes[1:])
        lives = [life for life in world.lives() if life.node == node]
        if node not in world.network.cut_off and world.may_die(lives):
            world.network.log(f"{node} is cut off")
            world.oracle.hit(world.oracle.endangered(lives))
            world.network.cut_off.add(node)
            world.network.after(self.random.uniform(0.1, 6.0), world.network.cut_off.discard, node)

    def _light_fuse(self) -> None:
        """Somebody dies at one of its next awaits or fsyncs."""
        process: TierProcess | CoordinatorProcess | None = self.world.coordinator
        if self.random.random() < 0.7:
            process = self._some_tier()
        if process is not None and process.alive:
            process.fuse = self.random.randint(1, 6)
            self.world.network.log(f"{process.name} will die at its command {process.fuse}")

    def _rot(self) -> None:
        """A copy goes bad, where there is another good one."""
        life = self._some_tier()
        if life is None or not life.disk.blobs:
            return
        key = self.random.choice(sorted(life.disk.blobs))
        blob = life.disk.blobs[key]
        if blob.slot.kind is not Kind.VALUE or blob.value is None:
            return
        operation = self.world.oracle.operations[blob.value]
        others = [
            other
            for other in self.world.oracle.copies(operation)
            if other is not life and not other.disk.blobs[key].rotten
        ]
        if others and not operation.faults and self.world.may_die([life]) and operation.acknowledged:
            operation.faults += 1
            blob.rotten = True
            self.world.network.log(f"{key}={blob.value} goes bad at {life.name}")

    def _drain(self) -> None:
        coordinator = self.world.coordinator
        if coordinator is not None and coordinator.alive and not coordinator.stalled:
            node = self.random.choice(self.world.nodes[1:])
            self.world.network.log(f"drain {node}")
            coordinator.on(DrainNode(node))
            self.world.network.after(3.0, self._undo_drain, node)

    def _undo_drain(self, node: str) -> None:
        coordinator = self.world.coordinator
        if coordinator is not None and coordinator.alive and not coordinator.stalled:
            coordinator.on(DrainNode(node, undo=True))

    def _take_node_away(self) -> None:
        """The autoscaler drains a node, ends it, and has another one in its place later: with its disk."""
        world = self.world
        coordinator = world.coordinator
        node = self.random.choice(world.nodes[1:])
        if coordinator is None or not coordinator.alive or coordinator.stalled or node in world.down:
            return
        world.network.log(f"{node} is to be taken away")
        coordinator.on(DrainNode(node))
        world.network.after(self.random.uniform(1.0, 4.0), self._end_node, node)

    def _end_node(self, node: str) -> None:
        world = self.world
        lives = [life for life in world.lives() if life.node == node]
        if world.healed or node in world.down or not world.may_die(lives):
            return self._undo_drain(node)
        world.network.log(f"{node} is taken away")
        world.down.add(node)
        for life in lives:
            life.die()
        world.network.after(self.random.choice([3.0, 8.0]), self._node_returns, node)
        return world.network.after(3.0, self._undo_drain, node)

    # -- the end ------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Mend everything, let it come to rest, and look at all of it."""
        world = self.world
        world.heal()
        for _ in range(80):
            world.network.run(1.0)
            coordinator = world.coordinator
            if coordinator is None or not coordinator.serving or self.open:
                continue
            for node in list(coordinator.core.placement.draining):
                coordinator.on(DrainNode(node, undo=True))
            ready = coordinator.core.placement.ready
            everybody = all(life.core.info.member in ready for life in world.lives())
            if everybody and coordinator.core.at_rest:
                break
        if self.open:
            raise Violation(f"{self.open} requests are still without an answer")
        world.oracle.check_at_rest()
        for client in world.clients.values():
            answered = self._read(client, tuple(self.keys))
            world.network.run(5.0)
            if not answered:
                raise Violation("a read was not answered though nothing is broken")
        world.oracle.check_answered()


def run_seed(
    seed: int, events: int, make_core: MakeCore = CoordinatorCore, trace: bool = False, keys: int = 10
) -> World:
    """Run one history; a violation is raised with the trace that led to it. Few keys: more conflicts."""
    world = World(seed, make_core=make_core, trace=trace)
    step = 0
    try:
        scenario = Scenario(world, keys)
        world.network.run(0.5)
        for step in range(1, events + 1):
            scenario.step()
            world.oracle.check_touched()
            if step % 25 == 0:
                world.oracle.check_all()
        scenario.finish()
    except Exception as error:
        if trace:
            lines = "\n".join((world.network.lines or [])[-3000:])
            raise Failure(f"seed {seed}, event {step}: {error}\n{lines}") from error
        try:
            run_seed(seed, events, make_core, trace=True, keys=keys)
        except Failure as failure:
            raise failure from error
        raise Failure(f"seed {seed} failed once and not when it was repeated: {error}") from error
    return world
