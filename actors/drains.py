"""`Drains`: which nodes are being emptied: those that an operator named, and those that Ray drains.

What the operator said is kept in Ray's key-value store, so that the next coordinator knows it too. Ray
drains a node before the autoscaler, or the provider of a spot machine, takes it away.
"""

from __future__ import annotations

import logging

from ray._private.state import state as gcs_state
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_list, _internal_kv_put

from .view_log import NAMESPACE

log = logging.getLogger(__name__)


class Drains:
    """The drains of one cluster. All calls block for a round trip or two to Ray's GCS; thread-safe."""

    def __init__(self, cluster: str) -> None:
        self._prefix = f"{cluster}/drain/".encode()

    def add(self, node: str) -> None:
        """The operator wants the node to be emptied, and to take nothing new."""
        _internal_kv_put(self._prefix + node.encode(), b"", overwrite=True, namespace=NAMESPACE)

    def remove(self, node: str) -> None:
        """The operator has changed his mind, or the node is gone."""
        _internal_kv_del(self._prefix + node.encode(), namespace=NAMESPACE)

    def nodes(self) -> set[str]:
        """All nodes that are to be emptied now."""
        kept = _internal_kv_list(self._prefix, namespace=NAMESPACE)
        named = {key.removeprefix(self._prefix).decode() for key in kept}
        return named | set(gcs_state.get_draining_nodes())

    def erase(self) -> None:
        """Forget all of them: the cluster is being deleted."""
        for key in _internal_kv_list(self._prefix, namespace=NAMESPACE):
            _internal_kv_del(key, namespace=NAMESPACE)
