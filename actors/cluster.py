"""`connect` and `Cluster`: the entrance to everything that runs on Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import ray
from ray.util import list_named_actors

from ..errors import Closed, DeadlineExceeded, InvalidValue, Unavailable, VersionMismatch
from .calls import GONE, Deadline, get, persist
from .client import MemoryClient
from .config import ClusterConfig
from .core.model import CoreConfig
from .launch import start_coordinator
from .names import NAMESPACE, check_cluster_name, memoria_actor_name
from .running import find_coordinator
from .session import RaySession, check_not_forked
from .status import Snapshot
from .subscription import Event, Subscription

if TYPE_CHECKING:
    from ..replay.schema import Schema
    from .memoria_network import MemoriaNetwork
    from .memory_manager import MemoryManager
    from .replay import Replay

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
NOT_INSTALLED = "No module named 'mem"
"""What Python says on a worker that lacks `memories` or `memoria`."""


class Cluster:
    """A connection to one cluster of ours inside a Ray cluster. Use as a context manager, or `close` it.

    Closing disconnects and leaves the cluster running, for others and for later; a Ray that `connect`
    started on this machine ends with it. `shutdown` ends the cluster for everybody.

    Examples:
        >>> import memories
        >>> cluster = memories.connect(name="example")
        >>> cluster.memory().exists("never stored")
        False
        >>> cluster.shutdown(delete=True)  # for everybody; `close` only disconnects
    """

    def __init__(self, name: str, namespace: str, session: RaySession) -> None:
        self.name = name
        self.namespace = namespace
        self._session = session
        self._closed = False
        self._memories: list[MemoryManager] = []
        self._subscriptions: list[Subscription] = []

    def memory(self, *, timeout_s: float = 60.0) -> MemoryManager:
        """A `MemoryManager` on this cluster; what one driver stores, all can read."""
        from .memory_manager import MemoryManager

        self._check_open()
        manager = MemoryManager(cluster=self, timeout_s=timeout_s)
        self._memories.append(manager)
        return manager

    def memoria(
        self, name: str, *, checkpoint_interval: int = 1, replicas: int = 1, **arguments: Any
    ) -> MemoriaNetwork:
        """A Memoria network as an actor: made from `arguments` (those of `Memoria`), or, without any, the one
        that runs under this name.

        Every `checkpoint_interval` steps each session is saved into the tiers, fsynced, before the step is
        acknowledged: with 1 a killed actor loses no acknowledged step, with k at most k - 1. `replicas`
        nodes keep the saved state, as far as there are so many. Raises `InvalidValue` where a network of
        that name runs with other arguments, and `KeyNotFound` where none runs and none were given.
        """
        from .memoria_opening import open_memoria

        self._check_open()
        return open_memoria(
            self.name, self.namespace, name, arguments, checkpoint_interval, replicas, READY_TIMEOUT_S
        )

    def replay(
        self,
        name: str,
        *,
        schema: Schema | None = None,
        allow_degraded: bool = False,
        timeout_s: float = READY_TIMEOUT_S,
        **arguments: Any,
    ) -> Replay:
        """A sharded, replicated replay buffer: made from `schema` and `arguments`, or found by its name.

        The arguments are those of `ReplaySpec`: kind ("uniform", "prioritized", "queue" or "stack"),
        capacity, shards, replicas, alpha, beta, seed, ack. Raises `InvalidValue` where a buffer of that name
        has others, `KeyNotFound` where there is none and no schema was given, and `NotEnoughNodes` where
        there are fewer nodes than replicas, unless `allow_degraded`. The handle that comes back is picklable.
        """
        from .replay.opening import open_replay

        self._check_open()
        return open_replay(self.name, self.namespace, name, schema, arguments, allow_degraded, timeout_s)

    def client(self, *, timeout_s: float = 60.0) -> MemoryClient:
        """The layer below `memory()`: encoded values, requests and receipts."""
        self._check_open()
        return MemoryClient(self.name, self.namespace, timeout_s=timeout_s)

    def subscribe(self, *kinds: str, callback: Callable[[Event], None] | None = None) -> Subscription:
        """What happens from now on; see `MemoryManager.subscribe`. Ends with this connection."""
        subscription = self.client().subscribe(kinds, callback)
        self._subscriptions.append(subscription)
        return subscription

    def status(self, *, timeout_s: float = 10.0) -> Snapshot:
        """One frozen picture of nodes, tiers and background loops."""
        self._check_open()
        deadline = Deadline.after(timeout_s, f"the status of cluster {self.name!r}")
        snapshot: Snapshot = persist(
            lambda attempt_s: get(self._coordinator().status.remote(), attempt_s), deadline, lambda: None
        )
        return snapshot

    def drain(self, node: str, *, timeout_s: float = 600.0) -> None:
        """Move everything off a node (its id, or its name), which takes no new data from now on.

        Returns when no value is there any more. The node can then be ended, and its disk is not waited for.
        Raises `InvalidValue` for a node that is not there, and `DeadlineExceeded`; the drain goes on then.
        A node that Ray itself drains, because the autoscaler takes it away, is emptied without being asked.
        """
        self._order_drain(node, timeout_s, undo=False)

    def undrain(self, node: str, *, timeout_s: float = 60.0) -> None:
        """Let a node that was drained take data again."""
        self._order_drain(node, timeout_s, undo=True)

    def declare_gone(self, disk: str, *, timeout_s: float = 60.0) -> int:
        """Say that a disk which is away will never return; `status().away` names those that are missed.

        Nobody waits for it any more: keys whose only copies it had raise `ValueLost`, deletions that it had
        not heard of are forgotten. Should it return all the same, it is set aside and nothing on it is read.
        Returns how many keys are known to be lost by it. `disk` is its id or the beginning of it.

        Raises `InvalidValue` for a disk that is not away: `drain` is for those that still answer.
        """
        self._check_open()
        deadline = Deadline.after(timeout_s, f"declaring {disk} gone")
        status = self.status(timeout_s=deadline.remaining_s())
        found = [member for member in status.away if disk and member.startswith(disk)]
        if len(found) != 1:
            raise InvalidValue(
                f"{disk!r} is {'the beginning of several disks' if found else 'no disk'} that is away; there "
                f"are {', '.join(status.away) or 'none'}. A node that still answers can be drained"
            )
        lost_before = status.counts.get("lost", 0)
        while True:
            # Again until it stands: a coordinator that dies meanwhile has forgotten the order.
            is_away = persist(
                lambda attempt_s: get(self._coordinator().declare_gone.remote(found[0]), attempt_s),
                deadline,
                lambda: None,
            )
            status = self.status(timeout_s=deadline.remaining_s())
            if not is_away and status.phase == "serving":
                return max(0, status.counts.get("lost", 0) - lost_before)
            time.sleep(min(0.1, deadline.remaining_s()))

    def _order_drain(self, node: str, timeout_s: float, *, undo: bool) -> None:
        self._check_open()
        deadline = Deadline.after(timeout_s, f"draining node {node}")
        nodes = self.status(timeout_s=deadline.remaining_s()).nodes
        found = next((n.node for n in nodes if n.online and node in (n.node, n.name)), None)
        if found is None:
            raise InvalidValue(
                f"{node!r} is not a node of this cluster; there are "
                f"{', '.join(f'{n.name} ({n.node})' for n in nodes if n.online)}"
            )
        persist(
            lambda attempt_s: get(self._coordinator().drain.remote(found, undo), attempt_s),
            deadline,
            lambda: None,
        )
        while not undo:
            tiers = [t for t in self.status(timeout_s=10.0).tiers if t.node == found and t.used_bytes]
            if not tiers:
                return
            if time.monotonic() >= deadline.ends_s:
                count = sum(tier.keys for tier in tiers)
                raise DeadlineExceeded(
                    f"node {node} was not emptied within {timeout_s:g} s: {count} value"
                    f"{' is' if count == 1 else 's are'} still there. What asks for more copies than the "
                    "other nodes can hold stays until there is a node for it; the drain goes on"
                )
            time.sleep(0.1)

    def shutdown(self, *, delete: bool = False, timeout_s: float = 60.0) -> None:
        """End the cluster for everybody. `delete=True` removes its durable data as well."""
        self._check_open()
        deadline = Deadline.after(timeout_s, f"ending cluster {self.name!r}")
        for actor in self._memoria_actors():
            ray.kill(actor, no_restart=True)
        while True:
            coordinator = self._coordinator()
            try:
                get(coordinator.stop.remote(delete), deadline.remaining_s())
                break
            except ray.exceptions.GetTimeoutError:
                deadline.remaining_s()
            except GONE:  # it died; the next one finds the tiers, and ends them
                time.sleep(min(0.1, deadline.remaining_s()))
        ray.kill(coordinator, no_restart=True)
        self.close()

    def close(self) -> None:
        """Disconnect. Twice is fine."""
        if self._closed:
            return
        for subscription in self._subscriptions:
            subscription.close()
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

    def _differences(self, config: ClusterConfig) -> tuple[str, ...]:
        """Which fields of a configuration are not those that this cluster runs with."""
        deadline = Deadline.after(READY_TIMEOUT_S, f"joining cluster {self.name!r}")
        different: tuple[str, ...] = persist(
            lambda attempt_s: get(self._coordinator().differences.remote(config), attempt_s),
            deadline,
            lambda: None,
        )
        return different

    def _coordinator(self) -> Any:
        return find_coordinator(self.name, self.namespace)

    def _memoria_actors(self) -> list[Any]:
        prefix = memoria_actor_name(self.name, "")
        named = list_named_actors(all_namespaces=True)
        names = [a["name"] for a in named if a["namespace"] == self.namespace]
        return [ray.get_actor(name, self.namespace) for name in names if name.startswith(prefix)]

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"this connection to cluster {self.name!r} is closed; connect() again")
        check_not_forked()


def connect(
    address: str | None = None,
    *,
    name: str = "default",
    namespace: str = NAMESPACE,
    config: ClusterConfig | None = None,
    start: bool = True,
    runtime_env: Mapping[str, Any] | None = None,
    timeout_s: float = READY_TIMEOUT_S,
) -> Cluster:
    """Join a cluster by its name, or start it where it does not run yet.

    address: ``"ray://host:10001"`` from outside, ``"host:6379"`` on a node, ``"auto"`` for the Ray of this
        machine; None takes the Ray that this process has, or ``RAY_ADDRESS``, or the one that runs on
        this machine, or starts one.
    config: budgets and places, used where the cluster is started. A running one keeps its own, and a warning
        names what is different in this one.
    start: False never starts anything: neither Ray nor the cluster.
    runtime_env: as in ``ray.init``, for what is not installed on the nodes: this process's tasks have it, and
        where the cluster is started, all of its actors for as long as they live, also on nodes that join
        later. ``{"py_modules": [memories, memoria]}`` brings this library itself.

    Raises `NotRunning` where nothing answers (or runs, with ``start=False``), `Unavailable` where this
    machine is not a node, `VersionMismatch` where the cluster runs another version, and
    `DeadlineExceeded`.

    Examples:
        >>> import memories
        >>> with memories.connect(name="example") as cluster:
        ...     cluster.memory().store("a", 1).copies
        1
    """
    check_cluster_name(name)
    session = RaySession.join(address, start=start, runtime_env=runtime_env)
    return open_cluster(session, name, namespace, config, timeout_s, start=start)


def open_cluster(
    session: RaySession,
    name: str,
    namespace: str,
    config: ClusterConfig | None,
    timeout_s: float,
    *,
    start: bool = True,
) -> Cluster:
    """Start or find the coordinator in a session, and wait until its members are ready."""
    from .. import __version__

    try:
        if start:
            starting = (config or ClusterConfig()).starting()
            coordinator = start_coordinator(name, namespace, starting, CoreConfig())
        else:
            coordinator = find_coordinator(name, namespace)
        version = get(coordinator.wait_ready.remote(timeout_s), timeout_s + 5)
    except ray.exceptions.GetTimeoutError as error:
        session.end()
        raise DeadlineExceeded(
            f"cluster {name!r} was not ready within {timeout_s:g} s; `memories doctor` looks for the reason"
        ) from error
    except (ray.exceptions.RayActorError, Unavailable) as error:
        session.end()
        if NOT_INSTALLED in str(error):
            raise VersionMismatch(
                "workers of this Ray cluster cannot import Memories: install the version that this process "
                f"has, {__version__}, on every node, or bring it along: "
                'connect(runtime_env={"py_modules": [memories, memoria]})'
            ) from error
        raise
    except BaseException:
        session.end()
        raise
    if version != __version__:
        session.end()
        raise VersionMismatch(
            f"cluster {name!r} runs Memories {version}, and this process has {__version__}: "
            "install the same version in both places"
        )
    cluster = Cluster(name, namespace, session)
    if config is not None:
        try:
            different = cluster._differences(config)
        except BaseException:
            cluster.close()
            raise
        if different:
            log.warning(
                "cluster %r runs already, and keeps its configuration: %s of this one %s not used. "
                "Cluster.shutdown() first, if it is to be started with these",
                name,
                ", ".join(different),
                "is" if len(different) == 1 else "are",
            )
    return cluster
