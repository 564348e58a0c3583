"""`Hosts`: the machines of the cluster, as their tier actors and Ray describe them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .core.model import MemberId, MemberInfo
from .reports import HostReport
from .status import NodeStatus, TierStatus

MEMORY_TIERS = ("hot", "warm")
HEAD = "node:__internal_head__"
FORGET_S = 3600.0
"""A machine that has been down for so long is not shown any more."""
EXPECTED_DEATHS = (1, 3, 4)
"""Ray's reasons for a node that was stopped, or drained by the autoscaler: nobody misses it."""


class Hosts:
    """The last that was heard of every machine, also of one that is down. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[str, Mapping[str, Any]] = {}
        self._alive: set[str] = set()
        self._joined_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._greeted_s: dict[str, float] = {}
        self._reports: dict[str, dict[MemberId, HostReport]] = {}

    def seen(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """What Ray says of every node, dead ones included. Those that were stopped on purpose, and those
        in whose place another one of that name has come, are forgotten."""
        now_s = self._clock()
        by_id = {str(node["NodeID"]): node for node in nodes}
        self._alive = {node for node, known in by_id.items() if known["Alive"]}
        newest: dict[str, float] = {}
        for node in self._alive:
            self._nodes[node] = by_id[node]
            self._seen_s[node] = now_s
            joined_s = self._joined_s.setdefault(node, now_s)
            name = str(by_id[node]["NodeName"])
            newest[name] = max(joined_s, newest.get(name, joined_s))
        for node, known in by_id.items():
            if node not in self._alive and known.get("DeathReason") not in EXPECTED_DEATHS:
                self._nodes.setdefault(node, known)
                self._reasons.setdefault(node, str(known.get("DeathReasonMessage", "")))
                self._seen_s.setdefault(node, now_s)
        for node in self._nodes.keys() - self._alive:
            stopped = by_id.get(node, {}).get("DeathReason") in EXPECTED_DEATHS
            replaced = newest.get(str(self._nodes[node]["NodeName"]), 0.0) > self._seen_s[node]
            if stopped or replaced or now_s - self._seen_s[node] > FORGET_S:
                for kept in (self._nodes, self._joined_s, self._seen_s, self._greeted_s, self._reports):
                    kept.pop(node, None)
                self._reasons.pop(node, None)

    def greeted(self, node: str, info: MemberInfo, report: HostReport | None) -> None:
        """A tier actor of the machine has answered."""
        self._greeted_s[node] = self._clock()
        if report is not None:
            self._reports.setdefault(node, {})[info.member] = report

    def member_report(self, node: str, member: MemberId) -> HostReport | None:
        """What a tier actor said last."""
        return self._reports.get(node, {}).get(member)

    def statuses(
        self, tiers: Iterable[TierStatus], free_store_bytes: Mapping[str, int]
    ) -> tuple[NodeStatus, ...]:
        """Every machine, the head first, then by name."""
        memory = [tier for tier in tiers if tier.tier in MEMORY_TIERS]
        found = [self._status(node, memory, free_store_bytes.get(node)) for node in self._nodes]
        return tuple(sorted(found, key=lambda status: (not status.head, status.name, status.node)))

    def _status(self, node: str, memory: list[TierStatus], free_store_bytes: int | None) -> NodeStatus:
        known = self._nodes[node]
        resources = known["Resources"]
        reports = list(self._reports.get(node, {}).values())
        host = reports[-1] if reports else None
        store_bytes = int(resources.get("object_store_memory", 0))
        heard_s = self._greeted_s.get(node, self._seen_s[node])
        own = [tier for tier in memory if tier.node == node]
        return NodeStatus(
            node=node,
            name=str(known["NodeName"]),
            online=node in self._alive,
            used_bytes=sum(tier.used_bytes for tier in own),
            capacity_bytes=sum(tier.capacity_bytes for tier in own),
            head=HEAD in resources,
            heartbeat_age_s=max(0.0, self._clock() - heard_s),
            memory_used_bytes=host.memory_used_bytes if host else 0,
            memory_total_bytes=host.memory_total_bytes if host else 0,
            object_store_used_bytes=0 if free_store_bytes is None else max(0, store_bytes - free_store_bytes),
            object_store_bytes=store_bytes,
            disk_free_bytes=min((r.disk_free_bytes for r in reports), default=0),
            disk_total_bytes=host.disk_total_bytes if host else 0,
            cpu_percent=host.cpu_percent if host else 0.0,
            cpus=host.cpus if host else 0,
            gpus=tuple(gpu for report in reports for gpu in report.gpus),
            reason=self._reasons.get(node, ""),
        )
