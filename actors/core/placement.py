"""`Placement`: which members get a value. Deterministic: equal choices are settled by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from .catalog import Catalog
from .model import CoreConfig, MemberId, MemberInfo, StoreOptions


class Wanted(Protocol):
    """What a value asks for."""

    @property
    def replicas(self) -> int: ...

    @property
    def durable(self) -> bool: ...


class Placement:
    """Chooses among the members that are ready, by node, tier and free bytes."""

    def __init__(self, config: CoreConfig, catalog: Catalog, losing: Mapping[MemberId, int]) -> None:
        self._losing = losing
        self._config = config
        self._catalog = catalog
        self.ready: dict[MemberId, MemberInfo] = {}
        """Members whose contents are known: they can be read and written."""
        self.draining: set[str] = set()
        """Nodes that take no new data."""
        self.reserved_bytes: dict[MemberId, int] = {}
        """Bytes of puts and copies that are under way."""

    def free_bytes(self, member: MemberId) -> int:
        """Room that is neither used nor promised."""
        return (
            self.ready[member].capacity_bytes
            - self._catalog.used_bytes[member]
            - self.reserved_bytes.get(member, 0)
        )

    def reserve(self, member: MemberId, nbytes: int) -> None:
        """Promise room (negative: take the promise back)."""
        if member in self.reserved_bytes:
            self.reserved_bytes[member] += nbytes

    def nodes(self, members: Iterable[MemberId]) -> set[str]:
        """The nodes of those members that are ready."""
        return {self.ready[member].node for member in members if member in self.ready}

    def durable(self, members: Iterable[MemberId]) -> bool:
        """Whether one of them is ready and durable."""
        return any(member in self.ready and self.ready[member].durable for member in members)

    def is_trusted(self, member: MemberId, incarnation: int | None = None) -> bool:
        """Whether the member (in that life) is ready and not about to leave."""
        info = self.ready.get(member)
        return (
            info is not None
            and member not in self._losing
            and (incarnation is None or info.incarnation == incarnation)
        )

    def enough(self, options: Wanted, members: Collection[MemberId]) -> bool:
        """Whether copies on these members are what the options ask for."""
        return len(self.nodes(members)) >= options.replicas and (not options.durable or self.durable(members))

    def choose(
        self,
        options: StoreOptions,
        nbytes: int,
        taken: Collection[MemberId] = (),
        bad: Collection[MemberId] = (),
    ) -> list[MemberId]:
        """Members to add to `taken`, so that together they are what the options ask for, as far as possible.

        Members in `bad` are left out. The result may be too little: see `enough`.
        """
        chosen = list(taken)
        nodes = self.nodes(taken)
        tiers = self._tiers(options)
        if len(nodes) < options.replicas:
            for member in self._candidates(tiers, options.node, nbytes, bad):
                node = self.ready[member].node
                if node not in nodes:
                    nodes.add(node)
                    chosen.append(member)
                    if len(nodes) >= options.replicas:
                        break
        if options.durable and not self.durable(chosen):
            durable = [tier for tier in self._config.tiers if tier in ("cold", "glacier")]
            for member in self._candidates(durable, options.node, nbytes, bad):
                if self.ready[member].durable:
                    chosen.append(member)
                    break
        return chosen[len(taken) :]

    def in_tier(
        self, tier: str, node: str, nbytes: int, bad: Collection[MemberId] = (), *, elsewhere: bool = True
    ) -> MemberId | None:
        """A member of the tier with room, on the node where possible (`elsewhere`: or on another)."""
        for member in self._candidates((tier,), node, nbytes, bad):
            if elsewhere or self.ready[member].node == node:
                return member
        return None

    def witnesses(self, nodes: Collection[str]) -> list[MemberId]:
        """One durable member of each ready node that is not in `nodes`, by name."""
        found: dict[str, MemberId] = {}
        for member in sorted(self.ready):
            info = self.ready[member]
            if info.durable and info.node not in nodes:
                found.setdefault(info.node, member)
        return list(found.values())

    def on_two_nodes(self, members: tuple[MemberId, ...]) -> tuple[MemberId, ...]:
        """These members and, where they are on one node or none, others; quick ones rather than durable."""
        nodes = self.nodes(members)
        if len(nodes) >= 2:
            return members
        chosen = list(members)
        for member in self._quickest():
            node = self.ready[member].node
            if node not in nodes:
                nodes.add(node)
                chosen.append(member)
                if len(nodes) == 2:
                    break
        return tuple(chosen)

    def _quickest(self) -> list[MemberId]:
        return sorted(self.ready, key=lambda member: (self.ready[member].durable, member))

    def durable_nodes(self) -> int:
        """On how many nodes something can be written down."""
        return len({info.node for info in self.ready.values() if info.durable})

    def _tiers(self, options: StoreOptions) -> tuple[str, ...]:
        if options.tier is not None:
            return (options.tier,)
        tiers = self._config.tiers
        return tiers[tiers.index(self._config.default_tier) :]

    def _candidates(
        self, tiers: Iterable[str], node: str, nbytes: int, bad: Collection[MemberId]
    ) -> list[MemberId]:
        """Members with room: the given node first, then by tier, then the emptiest."""
        ranks = {tier: rank for rank, tier in enumerate(tiers)}
        found = []
        for member, info in self.ready.items():
            if member in bad or member in self._losing or info.node in self.draining:
                continue
            if info.tier in ranks:
                free = self.free_bytes(member)
                if free >= nbytes:
                    found.append((info.node != node, ranks[info.tier], -free, member))
        found.sort()
        return [member for *_, member in found]
