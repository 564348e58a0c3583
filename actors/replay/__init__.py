"""Replay on a cluster: sharded, replicated, exactly once. `Cluster.replay` is the entrance."""

from .handle import Replay
from .sampler import ReplaySampler
from .spec import ReplaySpec
from .writer import ReplayWriter

__all__ = ["Replay", "ReplaySampler", "ReplaySpec", "ReplayWriter"]
