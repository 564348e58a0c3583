"""What a replay buffer on a cluster is made of: replicas, the views of its shards, and their layout."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, order=True)
class Replica:
    """One life of one shard actor: a restarted actor has the same name and another incarnation."""

    actor: str
    incarnation: str
    node: str


@dataclass(frozen=True, slots=True)
class ShardView:
    """Who serves one shard. A view is recorded before anybody acts on it; higher numbers replace lower ones.

    With a backup, the primary acknowledges nothing that the backup has not accepted. Without one (a solo
    view) it acts alone. A candidate is being made a copy and becomes the backup of a later view.
    """

    shard: int
    number: int
    primary: Replica | None = None
    backup: Replica | None = None
    candidate: Replica | None = None

    @property
    def members(self) -> tuple[Replica, ...]:
        return tuple(r for r in (self.primary, self.backup, self.candidate) if r is not None)

    def next(
        self, primary: Replica | None, backup: Replica | None = None, candidate: Replica | None = None
    ) -> ShardView:
        return ShardView(self.shard, self.number + 1, primary, backup, candidate)


@dataclass(frozen=True, slots=True)
class Layout:
    """All shards of a buffer, and where the batches of shards that are gone are to be sent again.

    A shard number is never used twice, so a handle never names a row of another shard's life.
    """

    number: int
    shards: tuple[ShardView, ...] = ()
    routes: tuple[tuple[int, int], ...] = ()
    next_shard: int = 0
    lost_shards: int = 0
    draining: tuple[int, ...] = field(default=())

    def view(self, shard: int) -> ShardView | None:
        """The view of a shard, or None where there is no such shard (any more)."""
        return next((v for v in self.shards if v.shard == shard), None)

    def home_of(self, logical: int) -> int:
        """The shard that answers for batches that were first sent to this one."""
        routes = dict(self.routes)
        while logical in routes:
            logical = routes[logical]
        return logical

    @property
    def open_shards(self) -> tuple[int, ...]:
        """Those that take new batches."""
        return tuple(v.shard for v in self.shards if v.shard not in self.draining)

    def with_view(self, view: ShardView) -> Layout:
        shards = tuple(view if v.shard == view.shard else v for v in self.shards)
        return replace(self, shards=shards)

    def with_new_shard(self) -> Layout:
        """One shard more, which nobody serves so far."""
        view = ShardView(self.next_shard, 1)
        return replace(self, shards=(*self.shards, view), next_shard=self.next_shard + 1)

    def without(self, shard: int, heir: int) -> Layout:
        """A shard less; `heir` answers for its writers' batches."""
        return replace(
            self,
            shards=tuple(v for v in self.shards if v.shard != shard),
            draining=tuple(s for s in self.draining if s != shard),
            routes=(*self.routes, (shard, heir)),
        )
