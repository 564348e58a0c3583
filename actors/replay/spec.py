"""`ReplaySpec`: what a replay buffer on a cluster is. Plain values, kept in Ray's key-value store as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from ...errors import InvalidType, InvalidValue
from ...replay.buffer import PrioritizedReplayBuffer, ReplayBuffer
from ...replay.handles import MAX_SHARDS
from ...replay.presets import Kind, make_buffer
from ...replay.rate_limiters import MinSize, SamplesPerInsert
from ...replay.schema import Schema
from ...tiers.formats import check_format
from ..names import check_cluster_name

FORMAT = 1
KINDS = ("uniform", "prioritized", "queue", "stack")
DEFAULT_TOLERANCE_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySpec:
    """What `Cluster.replay` was asked for.

    capacity: rows in all shards together; each shard takes its part.
    replicas: 1, or 2 for a backup of every shard on another node.
    ack: when an insert is acknowledged: "backup" once the backup has it as well, "primary" once the
        primary has it, which is cheaper and can lose rows when a primary dies or is merely slow.
    samples_per_insert: rows that may be sampled for every row inserted, over all writers and samplers of
        the cluster; None: no limit. Sampling begins at `min_size` rows, and what was sampled stays within
        `tolerance` rows of the ratio (default: that of 10,000 inserted rows). Who is ahead waits.
    kind: "uniform" or "prioritized": rows are drawn, and the oldest are overwritten; "queue" or "stack":
        every row is taken `max_times_sampled` times (default: once), the oldest or the newest of a shard
        first, and a full shard takes no more until rows were taken.
    silent_s: a replica that has not answered for so long is replaced by its backup.
    """

    name: str
    schema: Schema
    kind: str = "uniform"
    capacity: int = 1_000_000
    shards: int = 1
    replicas: int = 1
    alpha: float = 0.6
    beta: float = 0.4
    seed: int | None = None
    ack: str = "backup"
    silent_s: float = 10.0
    samples_per_insert: float | None = None
    min_size: int = 1
    tolerance: float | None = None
    max_times_sampled: int | None = None

    def __post_init__(self) -> None:
        check_cluster_name(self.name)
        if not isinstance(self.schema, Schema):
            raise InvalidType(
                f"schema must be a Schema, got {type(self.schema).__name__}. Use Schema.from_env(env), "
                "Schema.from_example({...}) or Schema({name: (shape, dtype)})."
            )
        if self.kind not in KINDS:
            raise InvalidValue(f"kind is one of {', '.join(KINDS)} on a cluster, not {self.kind!r}.")
        if self.replicas not in (1, 2):
            raise InvalidValue(f"replicas is 1, or 2 for a backup of every shard, not {self.replicas!r}.")
        if self.ack not in ("backup", "primary"):
            raise InvalidValue(f'ack is "backup" or "primary", not {self.ack!r}.')
        if not 1 <= self.shards <= MAX_SHARDS // 4:
            raise InvalidValue(f"shards is {self.shards}, must be in 1..{MAX_SHARDS // 4}.")
        if self.capacity < self.shards:
            raise InvalidValue(f"capacity is {self.capacity} rows, fewer than the {self.shards} shards.")
        if not self.silent_s > 0:
            raise InvalidValue(f"silent_s is {self.silent_s}, must be positive.")
        if not self.ordered and self.max_times_sampled is not None:
            raise InvalidValue(
                f'max_times_sampled belongs to kind="queue" and "stack" on a cluster, not to {self.kind!r}.'
            )
        if self.ordered and self.samples_per_insert is not None:
            raise InvalidValue(
                f"samples_per_insert is not for a {self.kind}: it gives each row so many times."
            )
        if self.samples_per_insert is None and (self.min_size != 1 or self.tolerance is not None):
            raise InvalidValue("min_size and tolerance belong to samples_per_insert, which is not given.")
        if self.rate_limiter is not None:
            self.rate_limiter.check(self.capacity)
        self.make_buffer(0)  # checks alpha, beta and the capacity

    @property
    def rows_a_shard(self) -> int:
        return -(-self.capacity // self.shards)

    @property
    def rate_limiter(self) -> SamplesPerInsert | None:
        """The limits of the whole cluster; None where there is none."""
        ratio = self.samples_per_insert
        if ratio is None:
            return None
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = max(1.0, ratio) * max(self.min_size, DEFAULT_TOLERANCE_ROWS)
        return SamplesPerInsert(ratio, self.min_size, tolerance)

    @property
    def prioritized(self) -> bool:
        return self.kind == "prioritized"

    @property
    def ordered(self) -> bool:
        """Whether rows leave when they are taken, and only then."""
        return self.kind in ("queue", "stack")

    def make_buffer(self, shard: int) -> ReplayBuffer:
        """An empty buffer for a shard. Memory is reserved, not touched."""
        options: dict[str, Any] = {
            "shard": shard,
            "beta": self.beta,
            "seed": None if self.seed is None else self.seed + 7919 * shard,
        }
        if self.prioritized:
            return PrioritizedReplayBuffer(self.schema, self.rows_a_shard, alpha=self.alpha, **options)
        if self.ordered:
            times = 1 if self.max_times_sampled is None else self.max_times_sampled
            # Who may insert and sample is decided before: by what all replicas of the shard know.
            options |= {"rate_limiter": MinSize(1), "max_times_sampled": times}
            kind: Kind = "queue" if self.kind == "queue" else "stack"
            return make_buffer(kind, self.schema, self.rows_a_shard, **options)
        return ReplayBuffer(self.schema, self.rows_a_shard, **options)

    def to_json(self) -> bytes:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps({"format": FORMAT, **fields, "schema": self.schema.to_dict()}).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> ReplaySpec:
        fields = json.loads(stored)
        check_format(fields.pop("format"), FORMAT, "the description of a replay buffer")
        return cls(**{**fields, "schema": Schema.from_dict(fields["schema"])})
