"""Where `ray.remote` is applied, and with which options our actors run.

All actors are detached, so that they outlive the driver that made them, and restart for ever, with
``max_task_retries=0``: Ray's own retries would apply one acknowledged write twice. Repeating is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import ray
from ray.actor import ActorClass
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .config import ActorSettings, ClusterConfig
from .core.model import CoreConfig
from .gpu_share import actors_for, options_for
from .logs import LogSettings
from .names import coordinator_name, memoria_actor_name, tier_actor_name
from .threaded import threaded

HEAD = "node:__internal_head__"
HEAD_SHARE = 0.001

READERS = 32
"""Threads of a tier actor that answer readers."""
COMMANDS = 128
"""Threads of a tier actor in which commands of the coordinator wait for disks and for other tiers."""
REQUESTS = 256
"""Threads of the coordinator in which requests for keys wait; more of them wait for these."""
REPLAY_REQUESTS = 256
"""Threads of the coordinator in which requests about replay wait, for leases for instance."""
SUBSCRIBERS = 128
"""Threads of the coordinator in which those wait who want to hear what happens."""
OPERATIONS = 32
"""Threads of the coordinator for everything else, which nothing keeps waiting for long."""
SHARD_CALLS = 1_000
"""Calls that a replay shard may have under way at the same time."""


def tiers_of_node(node: Mapping[str, Any], config: ClusterConfig) -> Iterator[tuple[str, int]]:
    """The tiers that a node carries, with an index: hot tiers are one for each GPU."""
    resources = node["Resources"]
    if config.node_selector is not None and config.node_selector not in resources:
        return
    for tier in config.tiers:
        for index in range(actors_for(resources.get("GPU", 0)) if tier == "hot" else 1):
            yield tier, index
    if config.glacier is not None and HEAD in resources:
        yield "glacier", 0


def start_tier_actor(
    cluster: str, namespace: str, config: ClusterConfig, node_id: str, tier: str, index: int
) -> Any:
    """The tier actor of a node, which is started if it does not run yet."""
    return _start(
        _tier_class(),
        tier_actor_name(cluster, f"{node_id}/{tier}{index}"),
        (cluster, namespace, node_id, tier, index, config),
        namespace=namespace,
        max_concurrency=READERS,
        enable_task_events=False,  # thousands of calls a second: Ray would record each
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        **options_for(tier, _gpus(node_id), config.gpu_fraction),
    )


def start_coordinator(cluster: str, namespace: str, config: ClusterConfig, core: CoreConfig) -> Any:
    """The coordinator of a cluster, on the head node; the one that runs, if there is one."""
    return _start(
        _coordinator_class(),
        coordinator_name(cluster),
        (cluster, namespace, config, core),
        namespace=namespace,
        max_concurrency=OPERATIONS,
        enable_task_events=False,
        resources={HEAD: HEAD_SHARE},
    )


def start_memoria_actor(
    cluster: str,
    namespace: str,
    name: str,
    arguments: Mapping[str, Any],
    checkpoint_interval: int,
    replicas: int,
    gpu_fraction: float,
    settings: ActorSettings,
) -> Any:
    """The actor of a Memoria network, on a GPU where the cluster has one; the one that runs, if it does."""
    from .memoria_actor import MemoriaActor

    has_gpu = ray.cluster_resources().get("GPU", 0) > 0  # type: ignore[no-untyped-call]
    return _start(
        MemoriaActor,
        memoria_actor_name(cluster, name),
        (cluster, namespace, name, dict(arguments), checkpoint_interval, replicas, settings.log),
        namespace=namespace,
        num_gpus=gpu_fraction if has_gpu else 0,
        # All others inherit it from the coordinator that starts them.
        runtime_env=dict(settings.runtime_env) or None,
    )


def start_replay_shard(
    cluster: str,
    namespace: str,
    actor: str,
    shard: int,
    node_id: str,
    spec: bytes,
    log_settings: LogSettings,
) -> Any:
    """One replica of a replay shard, on a node; the one that runs, if it does."""
    from .replay.shard_actor import ReplayShard

    return _start(
        ReplayShard,
        actor,
        (cluster, namespace, actor, shard, node_id, spec, log_settings),
        namespace=namespace,
        max_concurrency=SHARD_CALLS,
        enable_task_events=False,  # thousands of calls a second: Ray would record each
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )


@cache
def _tier_class() -> Any:
    from .tier_actor import TierActor

    return threaded(TierActor, {"commands": COMMANDS}, {"execute": "commands"})


@cache
def _coordinator_class() -> Any:
    from .coordinator import Coordinator

    threads = {"requests": REQUESTS, "replay": REPLAY_REQUESTS, "subscribers": SUBSCRIBERS}
    groups = {"ask": "requests", "replay": "replay", "events_after": "subscribers", "wait_ready": "replay"}
    return threaded(Coordinator, threads, groups)


def _start(kind: Any, name: str, arguments: tuple[Any, ...], **options: Any) -> Any:
    """The actor of this name: the one that runs, if there is one."""
    return (
        (kind if isinstance(kind, ActorClass) else ray.remote(kind))
        .options(
            name=name,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,
            num_cpus=0,
            **options,
        )
        .remote(*arguments)
    )


def _gpus(node_id: str) -> int:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return next((int(n["Resources"].get("GPU", 0)) for n in nodes if n["NodeID"] == node_id), 0)
