"""`memories doctor --cluster`: is a running cluster in health, and what to do where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .doctor import Finding, State

if TYPE_CHECKING:
    from .actors.cluster import Cluster
    from .actors.status import Snapshot

OUT_OF_MEMORY = "NODE_OUT_OF_MEMORY"
"""Ray's word for a worker that its memory monitor has ended."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks look at: one snapshot, and what Ray itself says."""

    snapshot: Snapshot
    gcs_address: str
    ray_nodes: tuple[dict[str, Any], ...]
    deaths: Counter[str]
    """How many worker processes ended, by Ray's reason, as far as Ray remembers."""


def examine_cluster(cluster: Cluster, *, timeout_s: float = 10.0) -> Iterator[Finding]:
    """Run every check in turn. A check that breaks is a finding, not an exception."""
    import ray

    patient = Patient(
        snapshot=cluster.status(timeout_s=timeout_s),
        gcs_address=ray.get_runtime_context().gcs_address,
        ray_nodes=tuple(ray.nodes()),  # type: ignore[no-untyped-call]
        deaths=count_deaths(_worker_table()),
    )
    for check in CHECKS:
        try:
            yield check(patient)
        except Exception as error:  # noqa: BLE001 - the doctor reports whatever is wrong
            name = check.__name__.removeprefix("_").replace("_", " ")
            yield Finding(name, "error", f"{type(error).__name__}: {error}")
    for advice in patient.snapshot.advice:
        state: State = "error" if advice.level == "error" else "warning"
        yield Finding(advice.about, state, advice.what, advice.do)


def count_deaths(table: Iterable[bytes]) -> Counter[str]:
    """The reasons for which the workers of GCS's table have ended."""
    from ray.core import generated

    common_pb2: Any = generated.common_pb2  # made by a compiler, without types
    gcs_pb2: Any = generated.gcs_pb2
    workers = (gcs_pb2.WorkerTableData.FromString(row) for row in table)
    ended = (worker for worker in workers if not worker.is_alive and worker.HasField("exit_type"))
    return Counter(common_pb2.WorkerExitType.Name(worker.exit_type) for worker in ended)


def _worker_table() -> list[bytes]:
    from ray._private.state import state

    accessor = state._connect_and_get_accessor()
    return list(accessor.get_worker_table())


def _coordinator(patient: Patient) -> Finding:
    snapshot = patient.snapshot
    fact = f"{snapshot.phase}, epoch {snapshot.epoch}, {snapshot.keys:,} keys, Memories {snapshot.version}"
    return Finding("coordinator", "ok" if snapshot.phase == "serving" else "warning", fact)


def _nodes(patient: Patient) -> Finding:
    alive = [node for node in patient.ray_nodes if node["Alive"]]
    # The tiers of a node that died are listed until its disk is back.
    carrying = {tier.node for tier in patient.snapshot.tiers} & {node["NodeID"] for node in alive}
    bare = [node["NodeName"] for node in alive if node["NodeID"] not in carrying]
    fact = f"{len(alive)} in Ray, {len(carrying)} of them with tiers"
    if bare:
        return Finding(
            "nodes",
            "ok",
            f"{fact} (not {', '.join(bare)})",
            "expected only with node_selector, or at a start",
        )
    return Finding("nodes", "ok", fact)


def _loops(patient: Patient) -> Finding:
    snapshot = patient.snapshot
    told = [
        f"{loop.name} {snapshot.taken_s - loop.last_good_s:.1f} s ago"
        + (f" ({loop.failures:,} failures, the last: {loop.last_error})" if loop.failures else "")
        for loop in snapshot.loops
    ]
    failed = any(loop.failures for loop in snapshot.loops)
    advice = "they went on by themselves; the coordinator's log has the tracebacks" if failed else ""
    return Finding("loops", "warning" if failed else "ok", f"last round: {', '.join(told)}", advice)


def _memory_monitor(patient: Patient) -> Finding:
    kills = patient.deaths[OUT_OF_MEMORY]
    if kills:
        return Finding(
            "memory monitor",
            "warning",
            f"Ray has ended {kills:,} worker processes because a node ran out of memory",
            "lower hot_bytes and warm_bytes, or run fewer workers a node; what was acknowledged with one "
            "copy in memory may be lost",
        )
    return Finding("memory monitor", "ok", "has ended no process, as far as Ray remembers")


def _disks(patient: Patient) -> Finding:
    known = [node for node in patient.snapshot.nodes if node.online and node.disk_total_bytes]
    fact = ", ".join(f"{node.name} {node.disk_free_bytes / 10**9:,.0f} GB free" for node in known)
    return Finding("disks", "ok", fact or "not reported yet")


def _object_store(patient: Patient) -> Finding:
    known = [node for node in patient.snapshot.nodes if node.online and node.object_store_bytes]
    shares = [
        f"{node.name} {100 * node.object_store_used_bytes / node.object_store_bytes:.0f}% of "
        f"{node.object_store_bytes / 10**9:.1f} GB"
        for node in known
    ]
    return Finding("object store", "ok", ", ".join(shares) or "not reported yet")


def _token(patient: Patient) -> Finding:
    from .actors.strangers import Answer, ask_gcs

    match ask_gcs(patient.gcs_address):
        case Answer.REFUSED:
            return Finding("token", "ok", f"{patient.gcs_address} refuses callers without the token")
        case Answer.SILENT:
            return Finding("token", "ok", f"{patient.gcs_address} cannot be reached from here without Ray")
        case _:
            return Finding(
                "token",
                "warning",
                f"whoever reaches {patient.gcs_address} can run code on this cluster: it asks for no token",
                "start every node with RAY_AUTH_MODE=token and the same ~/.ray/auth_token (docs/security.md)",
            )


CHECKS: tuple[Callable[[Patient], Finding], ...] = (
    _coordinator,
    _nodes,
    _loops,
    _memory_monitor,
    _disks,
    _object_store,
    _token,
)
