"""`Placement`: which members get a value. Deterministic: equal choices are settled by name.

A choice looks at the members in the order of a `Ranking`, and at no more of them than it takes or passes
over; so its cost does not grow with the cluster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Protocol

from .catalog import Catalog
from .model import CoreConfig, MemberId, MemberInfo, StoreOptions
from .ranking import Ranking


class Wanted(Protocol):
    """What a value asks for."""

    @property
    def replicas(self) -> int: ...

    @property
    def durable(self) -> bool: ...


def no_member_of(tier: str) -> str:
    """Why nothing can go to a tier that no ready node has, for people to read."""
    return (
        f"no node has a {tier} tier that is ready. Where there should be one, Cluster.status().advice says "
        "what keeps it from starting"
    )


class Placement:
    """Chooses among the members that are ready, by node, tier and free bytes."""

    def __init__(self, config: CoreConfig, catalog: Catalog, losing: Mapping[MemberId, int]) -> None:
        self._losing = losing
        self._config = config
        self._catalog = catalog
        self._ranking = Ranking()
        self._ready: dict[MemberId, MemberInfo] = {}
        self._draining: set[str] = set()
        self._reserved_bytes: dict[MemberId, int] = {}
        self.ready: Mapping[MemberId, MemberInfo] = self._ready
        """Members whose contents are known: they can be read and written."""
        self.draining: AbstractSet[str] = self._draining
        """Nodes that take no new data."""
        self.reserved_bytes: Mapping[MemberId, int] = self._reserved_bytes
        """Bytes of puts and copies that are under way."""

    # -- who is there, with how much room -----------------------------------------------------------

    def admit(self, info: MemberInfo) -> None:
        """What a member keeps is known now, and is in the catalog."""
        self.dismiss(info.member)
        self._ready[info.member] = info
        self._reserved_bytes[info.member] = 0
        self._ranking.add(info)
        self._rank(info)

    def dismiss(self, member: MemberId) -> bool:
        """A member has left. Whether it had been admitted."""
        info = self._ready.pop(member, None)
        self._reserved_bytes.pop(member, None)
        if info is not None:
            self._ranking.remove(info)
        return info is not None

    def drain(self, node: str) -> None:
        """Let the node take no new data any more."""
        self._draining.add(node)
        for info in self._ranking.on_node(node):
            self._ranking.displace(info.member)

    def undrain(self, node: str) -> None:
        """Let the node take new data again."""
        self._draining.discard(node)
        for info in self._ranking.on_node(node):
            self._rank(info)

    def reserve(self, member: MemberId, nbytes: int) -> None:
        """Promise room (negative: take the promise back)."""
        if member in self._reserved_bytes:
            self._reserved_bytes[member] += nbytes
            self._catalog.resized.add(member)

    def free_bytes(self, member: MemberId) -> int:
        """Room that is neither used nor promised."""
        return (
            self._ready[member].capacity_bytes
            - self._catalog.used_bytes[member]
            - self._reserved_bytes.get(member, 0)
        )

    def _rank(self, info: MemberInfo) -> None:
        if info.node not in self._draining:
            self._ranking.place(info, self.free_bytes(info.member))

    def _rank_resized(self) -> None:
        """Bring the ranking up to date. Only now, so that a batch of a thousand keys moves a member once."""
        resized = self._catalog.resized
        for member in resized:
            if member in self._ranking:
                self._ranking.place(self._ready[member], self.free_bytes(member))
        resized.clear()

    # -- what can be said of members ----------------------------------------------------------------

    @property
    def node_count(self) -> int:
        """On how many nodes a member is ready."""
        return self._ranking.nodes

    def has_tier(self, tier: str) -> bool:
        """Whether a member of the tier is ready, with room or without."""
        return any(info.tier == tier for info in self._ready.values())

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
            durable = tuple(tier for tier in self._config.tiers if tier in ("cold", "glacier"))
            for member in self._candidates(durable, options.node, nbytes, bad):
                if self.ready[member].durable:
                    chosen.append(member)
                    break
        return chosen[len(taken) :]

    def in_tier(
        self,
        tier: str,
        node: str,
        nbytes: int,
        bad: Collection[MemberId] = (),
        *,
        elsewhere: bool = True,
        but: Collection[str] = (),
    ) -> MemberId | None:
        """A member of the tier with room, on the node where possible (`elsewhere`: or on another), and on
        none of the nodes in `but`."""
        for member in self._candidates((tier,), node, nbytes, bad):
            on = self._ready[member].node
            if not elsewhere and on != node:
                return None  # those on the node come first
            if on not in but:
                return member
        return None

    def witnesses(self, nodes: Collection[str], most: int) -> list[MemberId]:
        """One durable member of each ready node that is not in `nodes`, by name; no more than `most`."""
        ready = self._ready
        found = (member for member in self._ranking.witnesses if ready[member].node not in nodes)
        return list(islice(found, max(0, most)))

    def on_two_nodes(self, members: tuple[MemberId, ...]) -> tuple[MemberId, ...]:
        """These members and, where they are on one node or none, others; quick ones rather than durable."""
        nodes = self.nodes(members)
        if len(nodes) >= 2:
            return members
        chosen = list(members)
        for _, member in self._ranking.quickest:
            node = self._ready[member].node
            if node not in nodes:
                nodes.add(node)
                chosen.append(member)
                if len(nodes) == 2:
                    break
        return tuple(chosen)

    def durable_nodes(self) -> int:
        """On how many nodes something can be written down."""
        return len(self._ranking.witnesses)

    def _tiers(self, options: StoreOptions) -> tuple[str, ...]:
        if options.tier is not None:
            return (options.tier,)
        tiers = self._config.tiers
        return tiers[tiers.index(self._config.default_tier) :]

    def _candidates(
        self, tiers: Sequence[str], node: str, nbytes: int, bad: Collection[MemberId]
    ) -> Iterator[MemberId]:
        """Members with room: the given node first, then by tier, then the emptiest, then by name."""
        self._rank_resized()
        losing = self._losing
        here = []
        for info in self._ranking.on_node(node):
            member = info.member
            if info.tier in tiers and member in self._ranking and member not in bad and member not in losing:
                free = self.free_bytes(member)
                if free >= nbytes:
                    here.append((tiers.index(info.tier), -free, member))
        here.sort()
        for *_, member in here:
            yield member
        for tier in tiers:
            for free, member in self._ranking.by_room(tier):
                if free < nbytes:
                    break
                if member not in bad and member not in losing and self._ready[member].node != node:
                    yield member
