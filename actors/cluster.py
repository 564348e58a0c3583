"""`connect` and `Cluster`: the entrance to everything that runs on Ray."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import ray

from ..errors import Closed, DeadlineExceeded, Unavailable, VersionMismatch
from .calls import Deadline, get, persist
from .client import MemoryClient
from .config import ClusterConfig
from .core.model import CoreConfig
from .launch import start_coordinator
from .names import NAMESPACE, check_cluster_name, coordinator_name
from .session import RaySession
from .status import Snapshot

if TYPE_CHECKING:
    from .memory_manager import MemoryManager

READY_TIMEOUT_S = 60.0


class Cluster:
    """A connection to one cluster of ours inside a Ray cluster. Use as a context manager, or `close` it.

    Closing disconnects and leaves the cluster running, for others and for later; a Ray that `connect`
    started on this machine ends with it. `shutdown` ends the cluster for everybody.
    """

    def __init__(self, name: str, namespace: str, session: RaySession) -> None:
        self.name = name
        self.namespace = namespace
        self._session = session
        self._closed = False
        self._memories: list[MemoryManager] = []

    def memory(self, *, timeout_s: float = 60.0) -> MemoryManager:
        """A `MemoryManager` on this cluster; what one driver stores, all can read."""
        from .memory_manager import MemoryManager

        self._check_open()
        manager = MemoryManager(cluster=self, timeout_s=timeout_s)
        self._memories.append(manager)
        return manager

    def client(self, *, timeout_s: float = 60.0) -> MemoryClient:
        """The layer below `memory()`: encoded values, requests and receipts."""
        self._check_open()
        return MemoryClient(self.name, self.namespace, timeout_s=timeout_s)

    def status(self, *, timeout_s: float = 10.0) -> Snapshot:
        """One frozen picture of nodes, tiers and background loops."""
        self._check_open()
        deadline = Deadline.after(timeout_s, f"the status of cluster {self.name!r}")
        snapshot: Snapshot = persist(
            lambda attempt_s: get(self._coordinator().status.remote(), attempt_s), deadline, lambda: None
        )
        return snapshot

    def drain(self, node: str, *, timeout_s: float = 600.0) -> None:
        """Move everything off a node, which takes no new data from now on. Returns when it is empty."""
        self._check_open()
        deadline = Deadline.after(timeout_s, f"draining node {node}")
        persist(
            lambda attempt_s: get(self._coordinator().drain.remote(node), attempt_s), deadline, lambda: None
        )
        while any(t.keys for t in self.status().tiers if t.node == node):
            time.sleep(min(0.1, deadline.remaining_s()))

    def shutdown(self, *, delete: bool = False, timeout_s: float = 60.0) -> None:
        """End the cluster for everybody. `delete=True` removes its durable data as well."""
        self._check_open()
        try:
            get(self._coordinator().stop.remote(delete), timeout_s)
            ray.kill(self._coordinator(), no_restart=True)
        except ray.exceptions.RayActorError:
            pass  # it was faster than its answer
        self.close()

    def close(self) -> None:
        """Disconnect. Twice is fine."""
        if self._closed:
            return
        for memory in self._memories:
            memory.close()
        self._closed = True
        self._session.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"at {self._session.address}"
        return f"<Cluster {self.name!r} {state}>"

    def _coordinator(self) -> Any:
        try:
            return ray.get_actor(coordinator_name(self.name), self.namespace)
        except ValueError:
            raise Unavailable(f"cluster {self.name!r} does not run (any more); connect() starts it") from None

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"this connection to cluster {self.name!r} is closed; connect() again")


def connect(
    address: str | None = None,
    *,
    name: str = "default",
    namespace: str = NAMESPACE,
    config: ClusterConfig | None = None,
    timeout_s: float = READY_TIMEOUT_S,
) -> Cluster:
    """Join a cluster by its name, or start it where it does not run yet.

    address: ``"ray://host:10001"`` from outside, ``"host:6379"`` on a node, ``"auto"`` for the Ray of this
        machine; None takes the Ray that this process has, or ``RAY_ADDRESS``, or the one that runs on
        this machine, or starts one.
    config: budgets and places, used where the cluster is started; a running one keeps its own.

    Raises `Unavailable` where nothing answers or this machine is not a node, `VersionMismatch` where
    the cluster runs another version, and `DeadlineExceeded`.
    """
    check_cluster_name(name)
    session = RaySession.join(address)
    return open_cluster(session, name, namespace, config or ClusterConfig(), timeout_s)


def open_cluster(
    session: RaySession, name: str, namespace: str, config: ClusterConfig, timeout_s: float
) -> Cluster:
    """Start or find the coordinator in a session, and wait until its members are ready."""
    from .. import __version__

    try:
        coordinator = start_coordinator(name, namespace, config, CoreConfig())
        version = get(coordinator.wait_ready.remote(timeout_s), timeout_s + 5)
    except ray.exceptions.GetTimeoutError as error:
        session.end()
        raise DeadlineExceeded(
            f"cluster {name!r} was not ready within {timeout_s:g} s; `memories doctor` looks for the reason"
        ) from error
    except BaseException:
        session.end()
        raise
    if version != __version__:
        session.end()
        raise VersionMismatch(
            f"cluster {name!r} runs Memories {version}, and this process has {__version__}: "
            "install the same version in both places"
        )
    return Cluster(name, namespace, session)
