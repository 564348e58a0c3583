"""`NodeWatch`: sees to it that every node has its tier actors, and knows which of them are alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray._private.state import state as gcs_state
from ray.exceptions import ActorUnavailableError, RayError

from .config import ClusterConfig
from .core.attendance import Attendance
from .core.model import MemberId, MemberInfo
from .core.placement import Placement
from .hosts import Hosts
from .launch import start_tier_actor, tiers_of_node
from .names import tier_actor_name
from .reports import HostReport
from .status import UnstartedTier

log = logging.getLogger(__name__)

ROUND_S = 0.5
ROUND_WAITS_S = 0.5
"""So long a round waits for answers; who is slower is heard in a later round."""
GREETING_TIMEOUT_S = 5.0
START_AGAIN_S = 5.0
"""The pause before an actor is started that could not start, or was ended by somebody."""
CLOSE_TIMEOUT_S = 30.0
DETAILED_ROUNDS = 10
"""So seldom machines are asked how they are while nobody looks: who does look then sees that at once."""
WATCHED_ROUNDS = 4
"""The same while somebody looks: a machine does not change by the second, and to ask it costs most."""


class NodeWatch:
    """Belongs to the coordinator's event loop; not thread-safe."""

    def __init__(self, cluster: str, namespace: str, config: ClusterConfig) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._config = config
        self._handles: dict[str, Any] = {}
        self._attendance = Attendance()
        self._greetings: dict[str, asyncio.Task[None]] = {}
        self._start_again_s: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._alive: set[str] = set()
        self.hosts = Hosts()
        self.is_watched: Callable[[], bool] = lambda: False
        """Whether somebody looks at the machines' figures now."""
        self._rounds = 0

    def handle(self, member: MemberId) -> Any | None:
        """The actor of a member, or None where it has none now."""
        slot = self._attendance.seat_of(member)
        return self._handles.get(slot) if slot else None

    def actor_name(self, member: MemberId) -> str | None:
        """The name of the actor of a member, or None where it has none now."""
        slot = self._attendance.seat_of(member)
        return tier_actor_name(self._cluster, slot) if slot else None

    def missing(self, placement: Placement) -> list[str]:
        """The tier actors that should be there and cannot be used yet; never none before any was started."""
        seats = self._attendance.seats
        if not seats:
            return ["the first tier actor"]
        return [
            slot
            for slot, seat in seats.items()
            if not seat.dead and (seat.info is None or seat.info.member not in placement.ready)
        ]

    def why_nobody(self) -> str | None:
        """Where no tier actor at all could be started: why the first could not. None where one is there."""
        seats = self._attendance.seats
        if not seats or not all(seat.dead for seat in seats.values()):
            return None
        return next((reason for slot, reason in self._reasons.items() if slot in seats), None)

    def unstarted(self) -> tuple[UnstartedTier, ...]:
        """The tier actors that could not be started, or were ended by somebody, and are not back yet."""
        return tuple(
            UnstartedTier(seat.node, seat.tier, _in_short(self._reasons[slot]))
            for slot, seat in self._attendance.seats.items()
            if slot in self._reasons
        )

    def carriers(self) -> tuple[str, ...]:
        """The nodes that are alive and carry our actors."""
        return tuple(sorted({seat.node for seat in self._attendance.seats.values()}))

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

    def is_lost(self, info: MemberInfo) -> bool:
        """Whether this life of the member is over, or has been silent for too long."""
        return self._attendance.is_lost(info, self._alive)

    def is_up(self, node: str) -> bool:
        """Whether the node was alive in the last round."""
        return node in self._alive

    async def ensure_and_greet(self, wait_s: float = ROUND_WAITS_S) -> tuple[MemberInfo, ...]:
        """Start what is missing, forget what is on dead nodes, and ask everyone who they are."""
        known = await asyncio.to_thread(ray.nodes)
        self.hosts.seen(known)
        nodes = {node["NodeID"]: node for node in known if node["Alive"]}
        self._alive = set(nodes)
        for slot, seat in list(self._attendance.seats.items()):
            if seat.node not in nodes:
                self._attendance.remove(slot)
                self._handles.pop(slot, None)
                self._start_again_s.pop(slot, None)
                self._reasons.pop(slot, None)
        for node_id, node in nodes.items():
            for tier, index in tiers_of_node(node, self._config):
                slot = f"{node_id}/{tier}{index}"
                if slot not in self._handles and time.monotonic() >= self._start_again_s.get(slot, 0.0):
                    self._handles[slot] = await asyncio.to_thread(
                        start_tier_actor, self._cluster, self._namespace, self._config, node_id, tier, index
                    )
                    if slot not in self._attendance.seats:
                        self._attendance.expect(slot, node_id, tier)
        detailed = self._rounds % (WATCHED_ROUNDS if self.is_watched() else DETAILED_ROUNDS) == 0
        self._rounds += 1
        for slot, handle in self._handles.items():
            if slot not in self._greetings:  # one that is on its way is enough
                self._greetings[slot] = asyncio.create_task(self._greet(slot, handle, detailed))
        if self._greetings:
            await asyncio.wait(self._greetings.values(), timeout=wait_s)
        return tuple(self._attendance.present())

    async def _greet(self, slot: str, handle: Any, detailed: bool) -> None:
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                info, report = await self._hello(slot, handle, detailed)
        except TimeoutError:
            self._attendance.missed(slot)
        except RayError as error:
            self._ended(slot, error)
        else:
            self._attendance.answered(slot, info)
            self._reasons.pop(slot, None)
            if slot in self._attendance.seats:
                self.hosts.greeted(self._attendance.seats[slot].node, info, report)
        finally:
            del self._greetings[slot]

    def _ended(self, slot: str, error: RayError) -> None:
        """Ray will not start this actor again: we do, where its node is still there."""
        self._attendance.died(slot)
        self._reasons[slot] = str(error)
        if self._handles.pop(slot, None) is not None and slot in self._attendance.seats:
            log.warning("tier actor %s has ended for good: %s: %s", slot, type(error).__name__, error)
            self._start_again_s[slot] = time.monotonic() + START_AGAIN_S

    async def _hello(self, slot: str, handle: Any, detailed: bool) -> tuple[MemberInfo, HostReport | None]:
        """Ask until there is an answer: a broken connection is no proof that somebody is dead."""
        while True:
            try:
                answer: tuple[MemberInfo, HostReport | None] = await handle.hello.remote(detailed)
                return answer
            except ActorUnavailableError:
                known = await asyncio.to_thread(gcs_state.actor_table, handle._actor_id.hex())
                if known.get("State") in ("RESTARTING", "DEAD"):
                    self._attendance.died(slot)  # Ray has seen its process end
                await asyncio.sleep(ROUND_S)

    async def stop_all(self, delete: bool) -> None:
        """End every tier actor of this cluster; with `delete`, after it has removed its durable data."""
        for greeting in self._greetings.values():
            greeting.cancel()
        for handle in self._handles.values():
            with contextlib.suppress(RayError, TimeoutError):
                await asyncio.wait_for(handle.close.remote(delete), CLOSE_TIMEOUT_S)
            ray.kill(handle, no_restart=True)
        self._handles.clear()


def _in_short(reason: str) -> str:
    """The last line, which names the exception: the traceback before it is in the log."""
    return reason.strip().rpartition("\n")[2].strip()
