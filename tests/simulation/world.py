"""`World`: nodes, members, the KV, coordinators and clients, and the things that happen to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.model import CoreConfig, Kind, MemberInfo, View

from .clients import ClientProcess
from .network import Network
from .oracle import Oracle
from .processes import CoordinatorProcess, Disk, TierProcess

MakeCore = Callable[..., CoordinatorCore]

CONFIG = CoreConfig(
    lease_s=1.0,
    lease_margin_s=0.5,
    resend_after_s=0.6,
    give_up_s=5.0,
    tombstone_retention_s=20.0,
    transfer_keys=4,
    transfers_in_flight=2,
)


class World:
    """A cluster of `nodes` nodes with a warm and a cold tier each; clients sit on the head node, n0."""

    def __init__(
        self,
        seed: int,
        nodes: int = 4,
        capacity_bytes: int = 100_000,
        make_core: MakeCore = CoordinatorCore,
        trace: bool = False,
    ) -> None:
        self.network = Network(seed, trace)
        self.oracle = Oracle(self)
        self.view_log: list[View] = []
        self.capacity_bytes = capacity_bytes
        self.media_fail = 0.0
        self.destructive = False
        self.nodes = [f"n{number}" for number in range(nodes)]
        self.healed = False
        self.down: set[str] = set()
        self.members: dict[str, TierProcess] = {}
        """The newest life of each member."""
        self.old_lives: dict[tuple[str, int], TierProcess] = {}
        self.disks: dict[str, Disk] = {}
        self.renamed: dict[str, str] = {}
        """What the disks of members are called whose first ones were given up."""
        self.clients: dict[str, ClientProcess] = {}
        self.coordinator: CoordinatorProcess | None = None
        self.old_coordinators: list[CoordinatorProcess] = []
        self.last_takeover_s = -100.0
        self._make_core = make_core
        self._incarnations = 0
        self._coordinators = 0
        self._silent: dict[str, float] = {}
        for node in self.nodes:
            for tier in ("warm", "cold"):
                self.start_tier(f"{node}/{tier}")
        for number in range(3):
            self.clients[f"client{number}"] = ClientProcess(self, f"client{number}", "n0")
        self.start_coordinator()

    def make_core(self, owner: str) -> CoordinatorCore:
        network = self.network
        return self._make_core(owner, lambda: network.now, lambda: 1e9 + network.now, CONFIG)

    # -- who is there -------------------------------------------------------------------------------

    def life(self, member: str, incarnation: int) -> TierProcess | None:
        newest = self.members.get(member)
        if newest is not None and newest.incarnation == incarnation:
            return newest
        return self.old_lives.get((member, incarnation))

    def lives(self) -> list[TierProcess]:
        return [life for life in self.members.values() if life.alive]

    def infos(self, coordinator: CoordinatorProcess) -> list[MemberInfo]:
        """Who answers when the coordinator asks everybody who they are."""
        return [
            life.core.info
            for life in self.lives()
            if not life.stalled and self.network.connected(coordinator.node, life.node)
        ]

    def silent_for_s(self, life: TierProcess) -> float:
        """How long a process has not answered the health watch."""
        if life.stalled or not self.network.connected("n0", life.node):
            since = self._silent.setdefault(life.name, self.network.now)
            return self.network.now - since
        self._silent.pop(life.name, None)
        return 0.0

    def coordinator_for_a_client(self) -> CoordinatorProcess | None:
        """Handles may point to an old coordinator for a while after a new one has started."""
        old = [coordinator for coordinator in self.old_coordinators if coordinator.alive]
        if old and self.network.random.random() < 0.2:
            return old[-1]
        return self.coordinator

    def holders_of_data(self) -> list[TierProcess]:
        """Lives whose data exists: those that are alive, and dead ones that have a disk."""
        return [life for life in self.members.values() if life.alive or life.durable]

    def has_bytes(self, key: str, value: int) -> bool:
        for life in self.members.values():
            blob = life.disk.blobs.get(key)
            if (
                (life.alive or life.durable)
                and blob is not None
                and blob.value == value
                and blob.slot.kind is Kind.VALUE
            ):
                return True
        return False

    def on_disk(self, key: str, value: int) -> bool:
        return any(
            (blob := disk.blobs.get(key)) is not None and blob.value == value and not blob.rotten
            for disk in self.disks.values()
        )

    def is_well(self, member: str, key: str, value: int) -> bool:
        life = self.members.get(member)
        if life is None or not life.alive or life.stalled or life.node in self.network.cut_off:
            return False
        blob = life.disk.blobs.get(key)
        return blob is not None and blob.value == value and not blob.rotten

    # -- life and death -----------------------------------------------------------------------------

    def new_incarnation(self, life: TierProcess) -> int:
        self._incarnations += 1
        self.old_lives[(life.member, life.incarnation)] = life
        return self._incarnations

    def set_aside(self, life: TierProcess) -> None:
        """A disk that was given up is put aside; its node takes a new one, under a new name."""
        if life.alive and self.members.get(life.member) is life:
            self.network.log(f"{life.name} is put aside")
            life.alive = False
            del self.members[life.member]
            del self.disks[life.member]
            self.renamed[life.member.rstrip("'")] = f"{life.member}'"
            self.start_tier(life.member)

    def start_tier(self, member: str) -> None:
        member = self.renamed.get(member.rstrip("'"), member)
        node, tier = member.rstrip("'").split("/")
        if node in self.down or (member in self.members and self.members[member].alive):
            return
        durable = tier == "cold"
        disk = self.disks.setdefault(member, Disk()) if durable else Disk()
        self._incarnations += 1
        epoch = max((blob.slot.version.epoch for blob in disk.blobs.values()), default=0)
        info = MemberInfo(member, node, tier, self._incarnations, durable, self.capacity_bytes, epoch)
        self.members[member] = TierProcess(self, info, disk)
        self.network.log(f"{member}#{info.incarnation} starts")

    def tier_died(self, life: TierProcess) -> None:
        self.network.log(f"{life.name} dies")
        self.network.after(self.network.random.uniform(0.1, 2.0), self.start_tier, life.member)

    def start_coordinator(self) -> None:
        if self.coordinator is not None and self.coordinator.alive and not self.coordinator.stalled:
            return
        if self.coordinator is not None:
            self.old_coordinators.append(self.coordinator)
        self._coordinators += 1
        self.last_takeover_s = self.network.now
        self.network.log(f"coordinator-{self._coordinators} starts")
        self.coordinator = None
        self.coordinator = CoordinatorProcess(self, self._coordinators)

    def coordinator_died(self, coordinator: CoordinatorProcess) -> None:
        self.network.log(f"{coordinator.name} dies")
        self.last_takeover_s = self.network.now
        if coordinator is self.coordinator or self.coordinator is None:
            self.network.after(self.network.random.uniform(0.1, 1.0), self.start_coordinator)

    def may_die(self, lives: list[TierProcess]) -> bool:
        """Whether a fault may take these: where it is not to destroy, one copy of a value at a time."""
        return self.destructive or self.oracle.may_lose(self.oracle.endangered(lives))

    def medium_fails(self) -> bool:
        return self.media_fail > 0 and self.network.random.random() < self.media_fail

    def heal(self) -> None:
        """Everybody comes back and wakes; the network works."""
        self.healed = True
        network = self.network
        network.cut_off.clear()
        network.loss = network.repeats = self.media_fail = 0.0
        self.down.clear()
        for process in [*self.members.values(), *self.old_lives.values(), *self.old_coordinators]:
            process.fuse = None
            process.wake()
        if self.coordinator is not None:
            self.coordinator.fuse = None
            self.coordinator.wake()
        for member in self.members:
            self.start_tier(member)

    def describe(self) -> dict[str, Any]:
        return {"now": self.network.now, "view": self.view_log[-1] if self.view_log else None}
