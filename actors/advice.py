"""`advise`: what is not as it should be in a snapshot, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .core.model import TIER_ORDER
from .status import Advice, Snapshot

FULL_PERCENT = 95.0
MEMORY_PERCENT = 90.0
STORE_PERCENT = 80.0
DISK_PERCENT = 95.0
SILENT_S = 5.0
LOOP_SILENT_S = 10.0
STALE_SHARE = 0.5
UPDATES_THAT_SAY_SOMETHING = 1000
RANK = {"error": 0, "warning": 1}


def advise(snapshot: Snapshot) -> tuple[Advice, ...]:
    """The worst first."""
    found = [
        *_coordinator(snapshot),
        *_nodes(snapshot),
        *_tiers(snapshot),
        *_replay(snapshot),
        *_memoria(snapshot),
    ]
    return tuple(sorted(found, key=lambda advice: RANK[advice.level]))


def _coordinator(snapshot: Snapshot) -> Iterator[Advice]:
    if snapshot.phase != "serving":
        yield Advice(
            "warning",
            "coordinator",
            f"the coordinator is {snapshot.phase} and answers when it has heard all tiers",
            "wait; if it takes more than a minute, look at the nodes page for one that does not answer",
        )
    for loop in snapshot.loops:
        silent_s = snapshot.taken_s - loop.last_good_s
        if loop.last_error and silent_s > LOOP_SILENT_S:
            yield Advice(
                "error",
                "coordinator",
                f"its loop {loop.name!r} has failed for {silent_s:.0f} s: {loop.last_error}",
                "look into the coordinator's log (`ray logs actor`); the loop tries again by itself",
            )
    lost = snapshot.counts.get("lost", 0)
    if lost:
        yield Advice(
            "error",
            "coordinator",
            f"every copy of {lost:,} {_keys(lost)} is gone: reading them raises ValueLost",
            "store them again, with replicas=2 or durable=True; the events page names the first of them",
        )


def _nodes(snapshot: Snapshot) -> Iterator[Advice]:
    for member in snapshot.away:
        yield Advice(
            "error",
            "node",
            f"the disk {member} is away; what only it has cannot be read",
            "start the node that has it again; if it will never return, say so: "
            f"`memories declare-gone {member}`",
        )
    for node in snapshot.nodes:
        if not node.online:
            yield Advice(
                "error",
                "node",
                f"node {node.name} is down{': ' if node.reason else ''}{node.reason}",
                "start Ray on it again (`ray start`); what is on its disk comes back with it, what has "
                "copies elsewhere is copied again",
            )
            continue
        if node.heartbeat_age_s > SILENT_S:
            yield Advice(
                "warning",
                "node",
                f"node {node.name} has not answered for {node.heartbeat_age_s:.0f} s",
                "look at its load and network; after 15 s its tiers count as lost",
            )
        if (
            node.memory_total_bytes
            and _percent(node.memory_used_bytes, node.memory_total_bytes) > MEMORY_PERCENT
        ):
            yield Advice(
                "warning",
                "node",
                f"node {node.name} uses {_percent(node.memory_used_bytes, node.memory_total_bytes):.0f}% of "
                "its memory; Ray ends actors at 95%",
                "lower hot_bytes and warm_bytes, or run fewer workers there",
            )
        if (
            node.object_store_bytes
            and _percent(node.object_store_used_bytes, node.object_store_bytes) > STORE_PERCENT
        ):
            yield Advice(
                "warning",
                "node",
                f"the object store of node {node.name} is "
                f"{_percent(node.object_store_used_bytes, node.object_store_bytes):.0f}% full; "
                "Ray spills the objects of your own tasks to disk from 80%",
                "lower warm_bytes, or start Ray with a larger object_store_memory",
            )
        if (
            node.disk_total_bytes
            and _percent(node.disk_total_bytes - node.disk_free_bytes, node.disk_total_bytes) > DISK_PERCENT
        ):
            yield Advice(
                "warning",
                "node",
                f"the disk of node {node.name} has {node.disk_free_bytes / 10**9:.1f} GB left",
                "free some, or give the cold tier another storage_path",
            )


def _tiers(snapshot: Snapshot) -> Iterator[Advice]:
    names = {node.node: node.name for node in snapshot.nodes}
    for missing in snapshot.unstarted:
        yield Advice(
            "error",
            "tier",
            f"the {missing.tier} tier of node {names.get(missing.node, missing.node)} does not start: "
            f"{missing.reason}",
            "it is tried again every few seconds; what is wrong in the cluster's configuration (a bucket, "
            "credentials, a folder) needs a new start: Cluster.shutdown(), then connect() with the right one",
        )
    carried = {tier.tier for tier in snapshot.tiers}
    totals = snapshot.tier_totals()
    for tier in TIER_ORDER:
        used, capacity = totals.get(tier, (0, 0))
        below = [t for t in TIER_ORDER[TIER_ORDER.index(tier) + 1 :] if t in carried]
        if capacity and _percent(used, capacity) > FULL_PERCENT and not below:
            yield Advice(
                "error",
                "tier",
                f"the {tier} tier is {_percent(used, capacity):.0f}% full, and there is no tier below it",
                f"raise {tier}_bytes, add a node or a glacier tier, or delete keys",
            )
    if snapshot.starving:
        yield Advice(
            "warning",
            "tier",
            f"there is no place for another copy of {snapshot.starving:,} {_keys(snapshot.starving)}",
            "add a node, or raise the budgets of the tiers",
        )


def _replay(snapshot: Snapshot) -> Iterator[Advice]:
    names = {node.node: node.name for node in snapshot.nodes}
    for buffer in snapshot.replay:
        for shard in buffer.shards:
            name = f"shard {shard.shard} of replay buffer {buffer.name!r}"
            if shard.age_s > SILENT_S:
                yield Advice(
                    "warning",
                    "replay",
                    f"{name} has not answered for {shard.age_s:.0f} s",
                    "its node may be down or overloaded: look at the nodes page; writers and samplers wait",
                )
            if shard.solo:
                yield Advice(
                    "warning",
                    "replay",
                    f"{name} has no backup: its rows are lost if node {names.get(shard.node, shard.node)} is",
                    "add a node, or wait until the one that is down has been replaced",
                )
            elif shard.backup_node and not shard.in_sync:
                yield Advice(
                    "warning",
                    "replay",
                    f"the backup of {name} is {shard.lag_rows:,} rows behind",
                    "wait while it catches up; if it stays so, look at the load of its node",
                )
        updates = buffer.updated + buffer.stale_updates
        if updates > UPDATES_THAT_SAY_SOMETHING and buffer.stale_updates > STALE_SHARE * updates:
            yield Advice(
                "warning",
                "replay",
                f"{100 * buffer.stale_updates / updates:.0f}% of the priority updates of {buffer.name!r} "
                "come after their row was overwritten",
                "raise the buffer's capacity, or sample and update faster",
            )


def _memoria(snapshot: Snapshot) -> Iterator[Advice]:
    for network in snapshot.memoria:
        if network.age_s > SILENT_S:
            yield Advice(
                "warning",
                "memoria",
                f"network {network.name!r} has not answered for {network.age_s:.0f} s",
                "it may be in a long step, or be restarting on another node",
            )


def _percent(used: int, total: int) -> float:
    return 100.0 * used / total


def _keys(number: int) -> str:
    return "key" if number == 1 else "keys"
