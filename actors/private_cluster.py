"""The cluster of a `MemoryManager` that belongs to one process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValue
from .config import DEFAULT_SIZES_GB, GB, ClusterConfig
from .session import RaySession

if TYPE_CHECKING:
    from ..tiers.policies import MigrationPolicy
    from .cluster import Cluster


def private_config(
    sizes: Mapping[str, float | None],
    glacier_enabled: bool,
    glacier: Mapping[str, Any] | None,
    policy: MigrationPolicy | None,
    storage_path: Path | None,
    name: str | None,
) -> ClusterConfig:
    """The configuration from what a `MemoryManager` was given."""
    budgets: dict[str, Any] = {}
    for tier, size in sizes.items():
        chosen = DEFAULT_SIZES_GB[tier] if size is None else size
        if not chosen > 0:
            raise InvalidValue(f"{tier}_memory_size must be a positive number of GB, not {chosen!r}")
        budgets[f"{tier}_bytes"] = int(chosen * GB)
    if glacier_enabled and glacier is None:
        glacier = {"provider": "local"}
    return ClusterConfig(
        **budgets,
        glacier=glacier,
        storage_path=storage_path,
        migration_policy=policy,
        temporary=name is None and storage_path is None,
    )


def open_private(name: str | None, config: ClusterConfig, timeout_s: float) -> Cluster:
    """Start it, in the Ray that this process has or in one of its own."""
    from .cluster import open_cluster
    from .names import NAMESPACE, check_cluster_name

    chosen = f"private-{uuid.uuid4().hex[:12]}" if name is None else check_cluster_name(name)
    return open_cluster(RaySession.private(), chosen, NAMESPACE, config, timeout_s)
