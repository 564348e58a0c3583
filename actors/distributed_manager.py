"""`DistributedMemoryManager`: values on several nodes, each in more than one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import NotEnoughNodes
from ..tiers.validation import check_key
from .cluster import Cluster, open_cluster
from .config import ClusterConfig
from .memory_manager import MemoryManager
from .names import NAMESPACE
from .session import RaySession
from .status import NodeStatus
from .store_options import StoreDefaults, check_replicas
from .striping import Stripes


class DistributedMemoryManager(MemoryManager):
    """A `MemoryManager` over several nodes that keeps `replication_factor` copies of everything.

    nodes: the nodes that must be there, as ``"name"``, ``"name:port"`` or ``"address:port"``; their Ray is
        joined (the one of this process or of ``RAY_ADDRESS`` first, then the first address that
        answers). None takes the nodes of the Ray cluster as they are.

    Examples:
        >>> import numpy as np
        >>> from memories import DistributedMemoryManager
        >>> with DistributedMemoryManager(replication_factor=1, name="example") as memory:
        ...     memory.store_distributed("matrix", np.ones((1_000, 100)))
        ...     memory.retrieve_distributed("matrix").shape
        (1000, 100)
    """

    def __init__(
        self,
        nodes: Sequence[str] | None = None,
        replication_factor: int = 2,
        *,
        name: str = "default",
        config: ClusterConfig | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.replication_factor = check_replicas("replication_factor", replication_factor)
        self.nodes = list(nodes or [])
        cluster = open_cluster(_join(self.nodes), name, NAMESPACE, config, timeout_s)
        try:
            present = _require_nodes(cluster, self.nodes)
            if len(present) < replication_factor:
                raise NotEnoughNodes(
                    f"{replication_factor} copies need as many nodes, and the cluster has {len(present)}"
                )
            super().__init__(cluster=cluster, timeout_s=timeout_s)
        except BaseException:
            cluster.close()
            raise
        self._defaults = StoreDefaults(self._client.node, replication_factor)
        self._stripes = Stripes(self._client)

    def store_distributed(self, key: str, value: Any, *, tier: str | None = None) -> None:
        """Store a value, a large one in chunks that are spread over the nodes; `replication_factor` copies
        of each. Returns when they all exist. Raises as `store` does."""
        check_key(key)
        self._check_open()
        options = self._defaults.options(tier)
        online = [node.node for node in self._cluster.status().nodes if node.online]
        self._stripes.store(key, value, options, online)

    def retrieve_distributed(self, key: str) -> Any:
        """The value of a key, its chunks fetched in parallel; arrays may be written to."""
        check_key(key)
        self._check_open()
        return self._stripes.retrieve(key)

    def delete_distributed(self, key: str) -> bool:
        """Forget a value and its chunks; whether there was one."""
        check_key(key)
        self._check_open()
        return self._stripes.delete(key)

    def get_node_status(self) -> dict[str, dict[str, Any]]:
        """Each node by name: whether it is online, and how full its memory tiers are, in percent."""
        self._check_open()
        return {
            _asked_name(node, self.nodes): {
                "online": node.online,
                "memory_usage": node.memory_usage,
                "used_bytes": node.used_bytes,
                "capacity_bytes": node.capacity_bytes,
                "node_id": node.node,
            }
            for node in self._cluster.status().nodes
        }

    def cleanup(self) -> None:
        """End this connection. The cluster goes on; `Cluster.shutdown` ends it."""
        if not self._closed:
            self.close()
            self._cluster.close()


def _join(nodes: Sequence[str]) -> RaySession:
    import ray

    from .addresses import answers

    if ray.is_initialized() or os.environ.get("RAY_ADDRESS") or not nodes:
        return RaySession.join()
    address = next((node for node in nodes if ":" in node and answers(node)), None)
    return RaySession.join(address)


def _require_nodes(cluster: Cluster, wanted: Sequence[str]) -> list[NodeStatus]:
    online = [node for node in cluster.status().nodes if node.online]
    missing = [name for name in wanted if not any(_is(node, name) for node in online)]
    if missing:
        raise NotEnoughNodes(
            f"the Ray cluster has no live node {', '.join(missing)}; it has "
            f"{', '.join(node.name for node in online) or 'none'}"
        )
    return online


def _is(node: NodeStatus, wanted: str) -> bool:
    return node.name in (wanted, wanted.rpartition(":")[0])


def _asked_name(node: NodeStatus, wanted: Sequence[str]) -> str:
    return next((name for name in wanted if _is(node, name)), node.name)
