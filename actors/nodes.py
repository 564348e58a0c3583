"""`NodeWatch`: sees to it that every node has its tier actors, and knows which of them are alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from .config import ClusterConfig
from .core.model import MemberId, MemberInfo
from .core.placement import Placement
from .hosts import Hosts
from .launch import start_tier_actor, tiers_of_node
from .names import tier_actor_name
from .reports import HostReport

log = logging.getLogger(__name__)

ROUND_S = 0.5
GREETING_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 30.0
DETAILED_ROUNDS = 10
"""So seldom machines are asked how they are while nobody looks: who does look then sees that at once."""
SILENT_S = 15.0
"""A member that has not answered for so long is treated as lost; it may come back."""


@dataclass(slots=True)
class Watched:
    """One tier actor: its handle, and what its last greeting said."""

    handle: Any
    node: str
    info: MemberInfo | None = None
    greeted_s: float = field(default_factory=time.monotonic)
    dead: bool = False


class NodeWatch:
    """Belongs to the coordinator's event loop; not thread-safe."""

    def __init__(self, cluster: str, namespace: str, config: ClusterConfig) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._config = config
        self._watched: dict[str, Watched] = {}
        self._member_slots: dict[MemberId, str] = {}
        self._wake = asyncio.Event()
        self.hosts = Hosts()
        self.is_watched: Callable[[], bool] = lambda: False
        """Whether somebody looks at the machines' figures now."""
        self._rounds = 0

    def handle(self, member: MemberId) -> Any | None:
        """The actor of a member, or None where it has none now."""
        slot = self._member_slots.get(member)
        watched = self._watched.get(slot) if slot else None
        return watched.handle if watched else None

    def actor_name(self, member: MemberId) -> str | None:
        """The name of the actor of a member, or None where it has none now."""
        slot = self._member_slots.get(member)
        return tier_actor_name(self._cluster, slot) if slot in self._watched else None

    def missing(self, placement: Placement) -> list[str]:
        """The tier actors that should be there and cannot be used yet; never none before any was started."""
        if not self._watched:
            return ["the first tier actor"]
        return [
            slot
            for slot, watched in self._watched.items()
            if not watched.dead and (watched.info is None or watched.info.member not in placement.ready)
        ]

    def carriers(self) -> tuple[str, ...]:
        """The nodes that are alive and carry our actors."""
        return tuple(sorted({watched.node for watched in self._watched.values()}))

    def suspect(self, member: MemberId) -> None:
        """A call to the member failed: look at it at once."""
        self._wake.set()

    async def wait(self) -> None:
        """Until the next round is due."""
        try:
            await asyncio.wait_for(self._wake.wait(), ROUND_S)
        except TimeoutError:
            return
        self._wake.clear()

    def is_lost(self, member: MemberId, incarnation: int) -> bool:
        """Whether this life of the member is over, or has been silent for too long."""
        watched = self._watched.get(self._member_slots.get(member, ""))
        if watched is None or watched.info is None or watched.info.incarnation != incarnation:
            return True
        return watched.dead or time.monotonic() - watched.greeted_s > SILENT_S

    async def ensure_and_greet(self) -> tuple[MemberInfo, ...]:
        """Start what is missing, forget what is on dead nodes, and ask everyone who they are."""
        known = await asyncio.to_thread(ray.nodes)
        self.hosts.seen(known)
        nodes = {node["NodeID"]: node for node in known if node["Alive"]}
        for slot, watched in list(self._watched.items()):
            if watched.node not in nodes:
                del self._watched[slot]
        for node_id, node in nodes.items():
            for tier, index in tiers_of_node(node, self._config):
                slot = f"{node_id}/{tier}{index}"
                if slot not in self._watched:
                    handle = start_tier_actor(
                        self._cluster, self._namespace, self._config, node_id, tier, index
                    )
                    self._watched[slot] = Watched(handle, node_id)
        detailed = self._rounds % DETAILED_ROUNDS == 0 or self.is_watched()
        self._rounds += 1
        await asyncio.gather(*(self._greet(slot, w, detailed) for slot, w in self._watched.items()))
        return tuple(w.info for w in self._watched.values() if w.info is not None and not w.dead)

    async def _greet(self, slot: str, watched: Watched, detailed: bool) -> None:
        info: MemberInfo
        report: HostReport | None
        try:
            info, report = await asyncio.wait_for(watched.handle.hello.remote(detailed), GREETING_TIMEOUT_S)
        except RayActorError as error:
            if not watched.dead:
                log.warning("tier actor %s does not answer: %s", slot, type(error).__name__)
            watched.dead = True
            return
        except (TimeoutError, GetTimeoutError):
            return
        except RayError:
            log.exception("tier actor %s cannot start", slot)
            watched.dead = True
            return
        watched.info, watched.dead, watched.greeted_s = info, False, time.monotonic()
        self.hosts.greeted(watched.node, info, report)
        self._member_slots[info.member] = slot

    async def stop_all(self, delete: bool) -> None:
        """End every tier actor of this cluster; with `delete`, after it has removed its durable data."""
        for watched in self._watched.values():
            with contextlib.suppress(RayError, TimeoutError):
                await asyncio.wait_for(watched.handle.close.remote(delete), CLOSE_TIMEOUT_S)
            ray.kill(watched.handle, no_restart=True)
        self._watched.clear()
