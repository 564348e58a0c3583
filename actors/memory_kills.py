"""`memory_kills`: which processes Ray's memory monitor has killed. Asks the GCS, without joining Ray.

The monitor kills workers, our actors among them, when a node runs out of memory. For the cluster that is a
fault like any other: the actor starts again and copies are made anew. Whoever wonders why sees it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ray._raylet import GcsClientOptions, GlobalStateAccessor  # type: ignore[attr-defined]
from ray.core.generated import common_pb2, gcs_pb2

from ..errors import Unavailable
from .names import NAMESPACE

_common: Any = common_pb2
_gcs: Any = gcs_pb2  # their classes are made at run time


@dataclass(frozen=True, slots=True)
class MemoryKill:
    """One process that was killed. `actor` is empty where it was none of ours."""

    actor: str
    node: str
    pid: int
    at_s: float


def memory_kills(gcs_address: str, namespace: str = NAMESPACE) -> list[MemoryKill]:
    """The kills that this Ray cluster still remembers, the latest last. Raises `Unavailable`."""
    options = GcsClientOptions.create(
        gcs_address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False
    )
    accessor = GlobalStateAccessor(options)
    if not accessor.connect():
        raise Unavailable(f"the Ray cluster at {gcs_address} does not answer")
    workers = [_gcs.WorkerTableData.FromString(row) for row in accessor.get_worker_table()]
    actors = [_gcs.ActorTableData.FromString(row) for row in accessor.get_actor_table(None, None)]
    names = _names_of_workers(actors, namespace)
    kills = [
        MemoryKill(
            names.get(worker.worker_address.worker_id, ""),
            worker.worker_address.node_id.hex(),
            worker.pid,
            worker.end_time_ms / 1000,
        )
        for worker in workers
        if not worker.is_alive and worker.exit_type == _common.WorkerExitType.NODE_OUT_OF_MEMORY
    ]
    return sorted(kills, key=lambda kill: kill.at_s)


def _names_of_workers(actors: Iterable[Any], namespace: str) -> dict[bytes, str]:
    """Which of our actors each worker was, in this life or in an earlier one."""
    names = {}
    for actor in actors:
        if actor.ray_namespace == namespace:
            names[actor.address.worker_id] = actor.name
            for earlier in actor.previous_incarnations:
                names[earlier.worker_id] = actor.name
    return names
