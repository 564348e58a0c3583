"""`Oracle`: knows what every client has done and what every member physically holds, and compares.

For each key it keeps the operations that may be the last word: a store or a delete that was acknowledged
and that no later one, begun after that acknowledgement, has outdone; and those without an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memories.actors.core.commands import MemberCommand, Reply
from memories.actors.core.model import Kind, Outcome, RequestId

if TYPE_CHECKING:
    from .processes import CoordinatorProcess, TierProcess
    from .world import World


ANSWERED_WITHIN_S = 3.0
"""Where nothing is broken any more a member answers a command sooner, also one that it has to fetch for."""


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(eq=False)
class Operation:
    """One store (or delete) of one key by one client. Its number stands for the bytes."""

    number: int
    key: str
    is_store: bool
    request: RequestId | None
    begun_s: float
    replicas: int = 1
    durable: bool = False
    degraded: bool = False
    answered_s: float | None = None
    acknowledged: bool = False
    faults: int = 0
    """Faults that have removed a copy since all copies were last seen well."""
    lost_s: float | None = None
    """When the faults became more than the copies that were asked for: the value may be lost."""
    nodes: set[str] = field(default_factory=set)
    """Nodes that have ever confirmed to themselves that they have it."""
    written_down: bool = False


class Oracle:
    """Checks the invariants of the cluster."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.operations: list[Operation] = []
        self.candidates: dict[str, list[Operation]] = {}
        self.by_request: dict[RequestId, dict[str, Operation]] = {}
        self.reads: dict[str, list[set[Operation]]] = {}
        self.touched: set[str] = set()
        self.answered: set[RequestId] = set()
        self.updating: dict[str, Operation | None] = {}
        """Keys whose priority is being changed, with the store that is certainly their last word."""
        self.said: dict[str, tuple[Operation, float]] = {}
        """The priority that was acknowledged last, and of which store; not where a later one may count."""
        self._priorities = 0
        self.checks = 0

    # -- what clients do ----------------------------------------------------------------------------

    def begin(self, key: str, is_store: bool, request: RequestId | None, **asked: Any) -> Operation:
        operation = Operation(len(self.operations), key, is_store, request, self.world.network.now, **asked)
        self.operations.append(operation)
        if request is not None:
            self.by_request.setdefault(request, {})[key] = operation
        if key not in self.candidates:
            initial = Operation(-1, key, False, None, -1.0, answered_s=-1.0, acknowledged=True)
            self.candidates[key] = [initial]
        self.candidates[key].append(operation)
        for possible in self.reads.get(key, ()):
            possible.add(operation)
        self.touched.add(key)
        return operation

    def acknowledge(self, operation: Operation) -> None:
        operation.answered_s = self.world.network.now
        operation.acknowledged = True
        self._outdo(operation)

    def fail(self, operation: Operation) -> None:
        """The answer says that nothing was changed."""
        operation.answered_s = self.world.network.now
        self.candidates[operation.key].remove(operation)
        self.touched.add(operation.key)

    def leave_open(self, operation: Operation) -> None:
        """The answer says that nobody knows."""
        operation.answered_s = self.world.network.now

    def _outdo(self, operation: Operation) -> None:
        key = operation.key
        self.touched.add(key)
        self.candidates[key] = [
            other
            for other in self.candidates[key]
            if other is operation or other.answered_s is None or other.answered_s >= operation.begun_s
        ]

    def begin_read(self, key: str) -> set[Operation]:
        if key not in self.candidates:
            self.begin(key, False, None)
            operation = self.operations[-1]
            self.acknowledge(operation)
        possible = set(self.candidates[key])
        self.reads.setdefault(key, []).append(possible)
        return possible

    def end_read(self, key: str, possible: set[Operation], outcome: Outcome, value: int | None) -> None:
        reads = self.reads[key]
        for position, other in enumerate(reads):
            if other is possible:
                del reads[position]
                break
        if outcome is Outcome.OK:
            if not any(operation.number == value and operation.is_store for operation in possible):
                raise Violation(f"read of {key} gave {value}, possible were {_names(possible)}")
        elif outcome is Outcome.MISSING:
            if not any(not op.is_store or self._may_be_forgotten(op) for op in possible):
                raise Violation(f"read of {key} found nothing, possible were {_names(possible)}")
        elif outcome is Outcome.LOST and not any(self._may_be_lost(op) for op in possible):
            raise Violation(f"read of {key} says lost, possible were {_names(possible)}")

    def _may_be_lost(self, operation: Operation) -> bool:
        return operation.is_store and (operation.lost_s is not None or not operation.acknowledged)

    def _may_be_forgotten(self, operation: Operation) -> bool:
        """Lost so shortly before a coordinator died that it could not be written down any more."""
        lost_s = operation.lost_s
        return lost_s is not None and self.world.last_takeover_s > lost_s - 1.0

    def begin_update(self, key: str) -> float:
        self._priorities += 1
        self.updating[key] = self.definite(key) if key in self.candidates else None
        self.said.pop(key, None)
        return float(self._priorities)

    def end_update(self, key: str, priority: float, well: bool) -> None:
        store = self.updating.pop(key)
        if well and store is not None and store is self.definite(key):
            self.said[key] = (store, priority)

    # -- what the cluster does ----------------------------------------------------------------------

    def written_by(self, tier: TierProcess, command: MemberCommand) -> None:
        if command.fence.epoch < tier.fenced_epoch:
            raise Violation(f"{tier.name} obeys epoch {command.fence.epoch} after {tier.fenced_epoch}")

    def stored(self, value: int, node: str, durable: bool) -> None:
        operation = self.operations[value]
        operation.nodes.add(node)
        operation.written_down |= durable

    def replied(self, coordinator: CoordinatorProcess, reply: Reply) -> None:
        """A coordinator acknowledges: the copies that were asked for must exist, or have existed."""
        operations = self.by_request.get(reply.request)
        if operations is None or reply.request in self.answered:
            return
        for row, operation in enumerate(operations.values()):
            outcome = Outcome.OK if reply.outcomes is None else reply.outcomes[row]
            if outcome is Outcome.OK and operation.is_store and not self._overtaken(coordinator, operation):
                if len(operation.nodes) < operation.replicas and not operation.degraded:
                    raise Violation(
                        f"{coordinator.name} acknowledges {operation.key}={operation.number} with "
                        f"{operation.replicas} copies; it has been on {sorted(operation.nodes)}"
                    )
                if operation.durable and not operation.written_down and not operation.degraded:
                    raise Violation(f"{operation.key}={operation.number} was acknowledged before any fsync")
        self.answered.add(reply.request)

    def _overtaken(self, coordinator: CoordinatorProcess, operation: Operation) -> bool:
        """Whether another request has written the key since this one took effect, or came before it.

        (Two requests of one client may arrive in the other order; then the earlier counts as outdone.)
        """
        entry = coordinator.core.catalog.entries.get(operation.key)
        return entry is None or entry.clients[-1] != operation.request

    # -- faults -------------------------------------------------------------------------------------

    def copies(self, operation: Operation) -> list[TierProcess]:
        """Lives that physically have the bytes."""
        return [
            life
            for life in self.world.holders_of_data()
            if _value_at(life, operation.key) == operation.number
        ]

    def settle_faults(self) -> None:
        """Values that have all their copies again can stand the next fault."""
        coordinator = self.world.coordinator
        if coordinator is None or not coordinator.serving:
            return
        core = coordinator.core
        for key, candidates in self.candidates.items():
            for operation in candidates:
                if operation.faults and operation.acknowledged:
                    entry = core.catalog.entries.get(key)
                    if entry is None or entry.kind is not Kind.VALUE or core.doubts.may_be_away((key,)):
                        continue
                    well = [m for m in entry.holders if self.world.is_well(m, key, operation.number)]
                    if core.placement.enough(entry, well):
                        operation.faults = 0

    def endangered(self, lives: list[TierProcess]) -> list[Operation]:
        """Acknowledged (or pending) values that the loss of these volatile copies would hit."""
        names = {life.name for life in lives if not life.durable}
        found = []
        for candidates in self.candidates.values():
            for operation in candidates:
                if operation.is_store and any(life.name in names for life in self.copies(operation)):
                    found.append(operation)
        return found

    def may_lose(self, operations: list[Operation]) -> bool:
        """Whether one more fault leaves every value that was promised to survive one."""
        return all(
            not op.acknowledged
            or (op.replicas < 2 and not op.durable)
            or (op.durable and self._on_disk(op))
            or op.faults + 1 < min(op.replicas, len(op.nodes))
            for op in operations
        )

    def hit(self, operations: list[Operation]) -> None:
        for operation in operations:
            operation.faults += 1
            if not (operation.durable and self._on_disk(operation)) and (
                operation.faults >= min(operation.replicas, max(1, len(operation.nodes)))
            ):
                operation.lost_s = self.world.network.now

    def _on_disk(self, operation: Operation) -> bool:
        return self.world.on_disk(operation.key, operation.number)

    # -- invariants ---------------------------------------------------------------------------------

    def check_touched(self) -> None:
        for key in self.touched:
            self.check(key)
        self.touched.clear()

    def check_all(self) -> None:
        for key in self.candidates:
            self.check(key)
        self.check_counters()

    def definite(self, key: str) -> Operation | None:
        """The operation that is certainly the last word; None where several may be."""
        candidates = self.candidates[key]
        return candidates[0] if len(candidates) == 1 and candidates[0].acknowledged else None

    def check(self, key: str) -> None:
        self.checks += 1
        operation = self.definite(key)
        if operation is None:
            return
        if (
            operation.is_store
            and operation.lost_s is None
            and not self.world.has_bytes(key, operation.number)
        ):
            raise Violation(f"{key}={operation.number} was acknowledged, and its bytes are nowhere")
        coordinator = self.world.coordinator
        if coordinator is None or not coordinator.serving or coordinator.stalled:
            return
        if self.world.view_log[-1].owner != coordinator.name:
            return  # an older one has woken and taken over: this one need not know what happens there
        core = coordinator.core
        located = core.queries._locate(key, "")
        if located.outcome is Outcome.UNAVAILABLE:
            return
        if not operation.is_store:
            if located.outcome is not Outcome.MISSING:
                raise Violation(f"{key} was deleted, the coordinator says {located}")
            return
        if located.outcome is Outcome.OK:
            for member, incarnation in located.members:
                life = self.world.life(member, incarnation)
                if life is None or not life.alive or key in core.requests.busy:
                    continue
                value = _value_at(life, key)
                if value != operation.number:
                    raise Violation(f"{key}={operation.number} should be at {life.name}, there is {value}")
        elif located.outcome is Outcome.LOST and operation.lost_s is None:
            raise Violation(f"{key}={operation.number} is said to be lost")
        elif located.outcome is Outcome.MISSING and not self._may_be_forgotten(operation):
            raise Violation(f"{key}={operation.number} is said to be absent")

    def check_counters(self) -> None:
        for life in self.world.lives():
            held = sum(slot.nbytes for slot in life.core.slots.values())
            if held != life.core.used_bytes:
                raise Violation(f"{life.name} counts {life.core.used_bytes} bytes and has {held}")
        coordinator = self.world.coordinator
        if coordinator is not None and coordinator.serving:
            catalog = coordinator.core.catalog
            counted = dict.fromkeys(catalog.used_bytes, 0)
            for entry in catalog.entries.values():
                for member in entry.holders:
                    counted[member] += entry.nbytes
            if counted != catalog.used_bytes:
                raise Violation(f"the coordinator counts {catalog.used_bytes}, its entries say {counted}")

    def check_answered(self) -> None:
        """Whoever has sent a command to a member that lives has got an answer, if only a refusal."""
        limit_s = self.world.network.now - ANSWERED_WITHIN_S
        for life in self.world.lives():
            late = sorted(stamp for stamp, came_s in life.unanswered.items() if came_s < limit_s)
            if late:
                raise Violation(f"{life.name} has not answered {late}")

    def check_at_rest(self) -> None:
        """Nothing is under way and nobody is down: catalog and members agree to the byte."""
        world = self.world
        coordinator = world.coordinator
        if coordinator is None or not coordinator.serving:
            raise Violation("no coordinator serves, though nothing is broken any more")
        core = coordinator.core
        unfinished = {
            "uncertain": core.doubts.uncertain,
            "undecided": core.doubts.undecided,
            "busy": core.requests.busy,
            "dark": core.doubts.dark,
            "stalled": core.stalled,
            "behind": core.catch_up.behind,
        }
        for name, rest in unfinished.items():
            if rest:
                raise Violation(f"something is still under way: {name} = {rest}")
        for key, entry in core.catalog.entries.items():
            if entry.kind is Kind.VALUE and not core.placement.enough(entry, entry.holders):
                raise Violation(f"{key} wants {entry.replicas} copies and has {entry.holders}")
        for key, (store, priority) in self.said.items():
            entry = core.catalog.entries.get(key)
            if store is self.definite(key) and entry is not None and entry.kind is Kind.VALUE:
                if entry.priority != priority:
                    raise Violation(f"{priority} of {key} was acknowledged, and it says {entry.priority}")
                self.checks += 1
        for life in world.lives():
            member = life.member
            for key, slot in life.core.slots.items():
                entry = core.catalog.entries.get(key)
                if slot.kind is Kind.VALUE:
                    if entry is None or member not in entry.holders or entry.version != slot.version:
                        raise Violation(f"{life.name} has {key} {slot.version}, nobody knows of it")
                    if slot.priority != entry.priority:
                        raise Violation(f"{life.name} says {slot.priority} of {key}, not {entry.priority}")
                elif entry is not None and member not in entry.marks:
                    raise Violation(f"{life.name} has a mark of {key}, nobody knows of it")
            if core.catalog.used_bytes[member] != life.core.used_bytes:
                raise Violation(
                    f"{life.name} has {life.core.used_bytes} bytes, "
                    f"the coordinator counts {core.catalog.used_bytes[member]}"
                )
        self.check_all()


def _value_at(life: TierProcess, key: str) -> int | None:
    blob = life.disk.blobs.get(key)
    return None if blob is None or blob.slot.kind is not Kind.VALUE else blob.value


def _names(operations: set[Operation]) -> list[str]:
    return sorted(
        f"{'store' if op.is_store else 'delete'} {op.number}"
        f"{'' if op.acknowledged else ' (open)'}{' (lost)' if op.lost_s is not None else ''}"
        for op in operations
    )
