"""`Observer`: asks replay shards, Memoria actors and Ray how they are, when somebody wants to know.

At most one round a second, whoever looks and how often. Everybody is asked at the same time, and nobody
twice: who has not answered yet is left alone, and what it said last is shown with its age.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import state
from ray.util import list_named_actors

from .heartbeat import Heartbeat
from .names import observed_prefixes
from .reports import MemoriaReport, ShardReport

log = logging.getLogger(__name__)

ROUND_S = 1.0
DEADLINE_S = 0.25
"""So long a look waits for answers; later ones are there for the next look."""
FIRST_DEADLINE_S = 2.0
"""The first look takes longer: everybody has to be found."""
GIVE_UP_S = 60.0
"""After so long an unanswered call is forgotten, and made again."""

Report = ShardReport | MemoriaReport


@dataclass(slots=True)
class Observed:
    """One actor that is asked: its last answer, and the call that is under way."""

    handle: Any
    report: Report | None = None
    heard_s: float = 0.0
    asked_s: float = 0.0
    call: asyncio.Task[None] | None = None


class Observer:
    """Belongs to the coordinator's event loop; not thread-safe."""

    def __init__(self, cluster: str, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefixes = observed_prefixes(cluster)
        self._namespace = namespace
        self._clock = clock
        self._observed: dict[str, Observed] = {}
        self._round: asyncio.Task[None] | None = None
        self._round_s = -ROUND_S
        self.heartbeat = Heartbeat("observer")
        self.object_stores: dict[str, int] = {}
        """Bytes of the object store that are free, by node."""

    @property
    def watched(self) -> bool:
        """Whether somebody has looked in the last few seconds."""
        return self._clock() - self._round_s < 5 * ROUND_S

    async def look(self) -> None:
        """Begin a round where one is due, and wait a moment for its answers."""
        running = self._round is not None and not self._round.done()
        if not running and self._clock() - self._round_s >= ROUND_S:
            self._round_s = self._clock()
            self._round = asyncio.ensure_future(self._ask_all())
            running = True
        if running and self._round is not None:
            deadline_s = DEADLINE_S if self.heartbeat.rounds else FIRST_DEADLINE_S
            await asyncio.wait({self._round}, timeout=deadline_s)

    def reports(self) -> list[tuple[Report, float]]:
        """The last answer of everybody, with its age in seconds."""
        now_s = self._clock()
        return [(o.report, now_s - o.heard_s) for o in self._observed.values() if o.report is not None]

    async def _ask_all(self) -> None:
        with self.heartbeat.beat():
            self.object_stores = await asyncio.to_thread(_free_object_store_bytes)
            await self._find()
            for name, observed in self._observed.items():
                if observed.call is not None and not observed.call.done():
                    if self._clock() - observed.asked_s < GIVE_UP_S:
                        continue
                    observed.call.cancel()
                observed.asked_s = self._clock()
                observed.call = asyncio.ensure_future(self._ask(name, observed))
            calls = [o.call for o in self._observed.values() if o.call is not None]
            if calls:
                await asyncio.wait(calls, timeout=DEADLINE_S)

    async def _find(self) -> None:
        """Look up who there is; who was ended for good is forgotten."""
        named = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        names = {
            actor["name"]
            for actor in named
            if actor["namespace"] == self._namespace and actor["name"].startswith(self._prefixes)
        }
        for name in self._observed.keys() - names:
            call = self._observed.pop(name).call
            if call is not None:
                call.cancel()
        for name in sorted(names - self._observed.keys()):
            try:
                handle = await asyncio.to_thread(ray.get_actor, name, self._namespace)
            except ValueError:
                continue  # it ended meanwhile
            self._observed[name] = Observed(handle)

    async def _ask(self, name: str, observed: Observed) -> None:
        try:
            observed.report = await observed.handle.report.remote()
        except (ray.exceptions.RayError, AttributeError) as error:
            log.info("%s does not say how it is: %s", name, type(error).__name__)
        else:
            observed.heard_s = self._clock()


def _free_object_store_bytes() -> dict[str, int]:
    available: dict[str, dict[str, float]] = state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return {node: int(found.get("object_store_memory", 0)) for node, found in available.items()}
