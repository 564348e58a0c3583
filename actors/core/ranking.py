"""`Ranking`: the members that can be chosen, in the order in which they are looked at.

A choice among a thousand members must not look at a thousand members. So they stand in sorted lists, which
the few events that change their order bring up to date: a member comes, goes, fills or empties. A place in
a list is found by halving; what is moved then are pointers, eight kilobytes for a thousand members.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from .model import MemberId, MemberInfo


class Ranking:
    """Members by tier and room, by node, and by how fast they are. Not thread-safe."""

    def __init__(self) -> None:
        self.quickest: list[tuple[bool, MemberId]] = []
        """All members, as (durable, member): the quick ones first, each kind by name."""
        self.witnesses: list[MemberId] = []
        """The first durable member of each node that has one, by name."""
        self._witness_of: dict[str, MemberId] = {}
        self._on_node: dict[str, dict[MemberId, MemberInfo]] = {}
        self._by_room: dict[str, list[tuple[int, MemberId]]] = {}
        self._places: dict[MemberId, tuple[str, tuple[int, MemberId]]] = {}
        """Of the members that take new data: the list they are in, and as what."""

    def __contains__(self, member: MemberId) -> bool:
        """Whether the member is one of those that take new data."""
        return member in self._places

    @property
    def nodes(self) -> int:
        """On how many nodes there is a member."""
        return len(self._on_node)

    def on_node(self, node: str) -> Sequence[MemberInfo]:
        """The members of a node."""
        return tuple(self._on_node.get(node, {}).values())

    def by_room(self, tier: str) -> Iterator[tuple[int, MemberId]]:
        """Members of the tier that take new data, with their free bytes: the emptiest first, then by name."""
        return ((-full, member) for full, member in self._by_room.get(tier, ()))

    def add(self, info: MemberInfo) -> None:
        """A member has come. It takes no new data before `place`."""
        self._on_node.setdefault(info.node, {})[info.member] = info
        insort(self.quickest, (info.durable, info.member))
        if info.durable:
            self._choose_witness(info.node)

    def remove(self, info: MemberInfo) -> None:
        """A member has gone."""
        self.displace(info.member)
        del self.quickest[bisect_left(self.quickest, (info.durable, info.member))]
        there = self._on_node[info.node]
        del there[info.member]
        if not there:
            del self._on_node[info.node]
        if info.durable:
            self._choose_witness(info.node)

    def place(self, info: MemberInfo, free_bytes: int) -> None:
        """The member takes new data, and has so much room now."""
        place = (info.tier, (-free_bytes, info.member))
        if self._places.get(info.member) != place:
            self.displace(info.member)
            self._places[info.member] = place
            insort(self._by_room.setdefault(info.tier, []), place[1])

    def displace(self, member: MemberId) -> None:
        """The member takes no new data any more."""
        place = self._places.pop(member, None)
        if place is not None:
            tier, standing = place
            members = self._by_room[tier]
            del members[bisect_left(members, standing)]

    def _choose_witness(self, node: str) -> None:
        durable = [member for member, info in self._on_node.get(node, {}).items() if info.durable]
        before, now = self._witness_of.pop(node, None), min(durable, default=None)
        if before is not None:
            del self.witnesses[bisect_left(self.witnesses, before)]
        if now is not None:
            self._witness_of[node] = now
            insort(self.witnesses, now)
