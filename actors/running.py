"""Which clusters of ours run in the Ray that this process is connected to."""

from __future__ import annotations

from typing import Any

import ray
from ray.util import list_named_actors

from ..errors import NotRunning
from .names import coordinator_name


def find_coordinator(name: str, namespace: str) -> Any:
    """The coordinator of a cluster that runs. Raises `NotRunning`, and names those that do run."""
    try:
        return ray.get_actor(coordinator_name(name), namespace)
    except ValueError:
        running = running_clusters(namespace)
        others = f"; here run {', '.join(map(repr, running))}" if running else ""
        raise NotRunning(
            f"cluster {name!r} does not run (any more){others}; memories.connect() starts it"
        ) from None


def running_clusters(namespace: str) -> list[str]:
    """The names of the clusters in this Ray, sorted."""
    suffix = coordinator_name("")
    named = list_named_actors(all_namespaces=True)
    names = [actor["name"] for actor in named if actor["namespace"] == namespace]
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))
