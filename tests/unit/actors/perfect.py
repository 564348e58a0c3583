"""A cluster of cores in one process with a perfect network: every command is carried out at once."""

from __future__ import annotations

from collections import deque
from typing import Any

from memories.actors.core.commands import (
    CheckView,
    Command,
    PersistView,
    Reply,
    ResetMember,
    Stop,
    UpdateMany,
)
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.events import (
    DeleteMany,
    Event,
    ListKeys,
    LocateMany,
    MemberJoined,
    MoveMany,
    Start,
    StoreMany,
    Tick,
    UpdateKeys,
    ViewChecked,
    ViewPersisted,
    ViewRefused,
)
from memories.actors.core.model import CoreConfig, MemberInfo, Outcome, RequestId, StoreOptions, View
from memories.actors.core.tier import (
    Action,
    AnnounceMember,
    Erase,
    Fetch,
    Fetched,
    Respond,
    Slot,
    TierCore,
    Wipe,
    Write,
    Written,
)


class PerfectCluster:
    """Members n1/warm, n1/cold, n2/warm, ... and one coordinator after the other."""

    def __init__(self, nodes: int = 2, capacity_bytes: int = 1 << 40, **config: Any) -> None:
        self.now = 0.0
        self.config = CoreConfig(**config)
        self.log: list[View] = []
        self.tiers: dict[str, TierCore] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.down: set[str] = set()
        self.unreachable: set[str] = set()
        """Members that answer the coordinator, and nobody who wants to copy from them."""
        self.replies: dict[RequestId, Reply] = {}
        self.sent: list[Command] = []
        self.sequence = 0
        self.coordinators = 0
        for number in range(1, nodes + 1):
            for tier in ("warm", "cold"):
                self.add_member(f"n{number}", tier, capacity_bytes)
        self.start_coordinator()

    def add_member(self, node: str, tier: str, capacity_bytes: int = 1 << 40) -> TierCore:
        member = f"{node}/{tier}"
        old = self.tiers.get(member)
        incarnation = 1 if old is None else old.info.incarnation + 1
        durable = tier == "cold"
        info = MemberInfo(member, node, tier, incarnation, durable, capacity_bytes)
        if not (durable and old is not None):
            self.values[member] = {}
        slots = dict(old.slots) if durable and old is not None else {}
        self.tiers[member] = TierCore(info, slots)
        return self.tiers[member]

    def start_coordinator(self) -> None:
        self.coordinators += 1
        self.core = CoordinatorCore(
            f"coordinator-{self.coordinators}", lambda: self.now, lambda: 1e9 + self.now, self.config
        )
        members = tuple(tier.info for name, tier in self.tiers.items() if name not in self.down)
        self.handle(Start(self.log[-1] if self.log else None, members))

    def handle(self, event: Event) -> None:
        """Give an event to the coordinator and carry out all that follows from it."""
        queue = deque(self.core.handle(event))
        while queue:
            command = queue.popleft()
            self.sent.append(command)
            queue.extend(self._perform(command))

    def tick(self, seconds: float = 0.25) -> None:
        self.now += seconds
        self.handle(Tick())

    def _perform(self, command: Command) -> list[Command]:
        match command:
            case PersistView(view):
                if self.log and self.log[-1].number >= view.number:
                    return self.core.handle(ViewRefused(self.log[-1], self.now))
                self.log.append(view)
                return self.core.handle(ViewPersisted(view.number, self.now))
            case CheckView(number, asked_s):
                newer = self.log[-1] if self.log and self.log[-1].number > number else None
                return self.core.handle(ViewChecked(number, asked_s, newer))
            case Reply():
                self.replies[command.request] = command
            case ResetMember(member, incarnation, _):
                tier = self.tiers[member]
                return self._act(member, tier.reset(command, incarnation + 1))
            case Stop():
                raise AssertionError(command.reason)
            case _ if hasattr(command, "fence"):
                member = command.fence.member
                if member not in self.down:
                    return self._act(member, self.tiers[member].handle(command))
        return []

    def _act(self, member: str, actions: list[Action]) -> list[Command]:
        tier, values = self.tiers[member], self.values[member]
        more: list[Command] = []
        queue = deque(actions)
        while queue:
            action = queue.popleft()
            match action:
                case Write():
                    payload = getattr(action.command, "payload", None)
                    for row, key, slot in zip(action.rows, action.keys, action.slots, strict=True):
                        if payload is not None:
                            rows = action.command.rows
                            values[key] = payload[row if rows is None else rows[row]]
                        elif isinstance(action.command, UpdateMany):
                            pass
                        elif slot.kind:
                            values.pop(key, None)
                        else:
                            values[key] = self.fetched[key]
                    queue.extend(tier.handle(Written(action.ticket)))
                case Erase():
                    for key in action.keys:
                        values.pop(key, None)
                    queue.extend(tier.handle(Written(action.ticket)))
                case Fetch():
                    source = action.command.source
                    self.fetched = self.values[source]
                    slots: list[Slot | Outcome] = [
                        self.tiers[source].slots.get(key, Outcome.MISSING) for key in action.command.keys
                    ]
                    if source in self.unreachable:
                        slots = [Outcome.UNAVAILABLE] * len(slots)
                    queue.extend(tier.handle(Fetched(action.ticket, tuple(slots))))
                case Respond():
                    more += self.core.handle(action.answer)
                case Wipe():
                    values.clear()
                case AnnounceMember():
                    more += self.core.handle(MemberJoined(action.info))
        return more

    # -- what a client would call -------------------------------------------------------------------

    def request(self, client: str = "c") -> RequestId:
        self.sequence += 1
        return RequestId(client, self.sequence)

    def store(
        self,
        values: dict[str, Any],
        request: RequestId | None = None,
        sizes: tuple[int, ...] | None = None,
        **options: Any,
    ) -> Reply | None:
        request = request or self.request()
        sizes = sizes or (10,) * len(values)
        wanted = StoreOptions(**{"node": "n1", **options})
        self.handle(StoreMany(request, tuple(values), sizes, tuple(values.values()), wanted))
        return self.replies.pop(request, None)

    def delete(self, *keys: str, request: RequestId | None = None) -> Reply | None:
        request = request or self.request()
        self.handle(DeleteMany(request, keys))
        return self.replies.pop(request, None)

    def get(self, key: str) -> Any:
        """The value, or the outcome where there is none."""
        request = self.request()
        self.handle(LocateMany(request, (key,), "n1"))
        located = self.replies.pop(request).located[0]
        if located.outcome:
            return located.outcome
        member, incarnation = located.members[0]
        assert self.tiers[member].may_read(key, located.version, incarnation)
        return self.values[member][key]

    def update(
        self, *keys: str, request: RequestId | None = None, **changes: Any
    ) -> tuple[Outcome, ...] | None:
        request = request or self.request()
        self.handle(UpdateKeys(request, keys, changes))
        return self.replies.pop(request).outcomes

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        request = self.request()
        self.handle(ListKeys(request, prefix))
        return self.replies.pop(request).keys

    def move(self, *keys: str, tier: str) -> Reply | None:
        request = self.request()
        self.handle(MoveMany(request, keys, tier))
        return self.replies.pop(request, None)
