"""`Chaos`: faults in a cluster of four raylets, and the wait until everything is well again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import ray
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray._private.state import actors as actor_table
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE, coordinator_name

from .conftest import MB, wait_until
from .traffic import KINDS, Traffic

WELL_S = 30.0
"""After so long from the moment when a loss is noticed all copies must be there again."""
NOTICED_S = 45.0
TIERS_A_NODE = 3


class Chaos:
    """Breaks things. The head, which carries the clients, is not killed; its tiers are."""

    def __init__(self, ray_cluster: RayCluster, cluster: Cluster, memory: MemoryManager, seed: int) -> None:
        self.cluster = cluster
        self.ray_cluster = ray_cluster
        self.nodes: list[Any] = []
        self.draw = random.Random(seed)
        self.pids: set[int] = set()
        """Every process of ours that was ever seen."""
        self._client = memory._client
        self._added = 0

    def add_node(self) -> None:
        """One more raylet with its tiers."""
        self._added += 1
        node = self.ray_cluster.add_node(
            num_cpus=1, object_store_memory=200 * MB, node_name=f"chaos{self._added}"
        )
        self.nodes.append(node)

    def wait_for_tiers(self) -> None:
        """Until every node has its tiers."""
        wanted = TIERS_A_NODE * (1 + len(self.nodes))
        wait_until(lambda: len(self.cluster.status().tiers) == wanted, 60)
        self.pids.update(actor["Pid"] for actor in self._actors().values() if actor["Pid"])

    # -- faults -------------------------------------------------------------------------------------

    def kill_tier(self, traffic: Traffic) -> None:
        self._lose_copies(lambda: os.kill(self._some_tier(), signal.SIGKILL), traffic)

    def kill_coordinator(self, traffic: Traffic) -> None:
        os.kill(self._coordinator(), signal.SIGKILL)
        traffic.pause(1.0)

    def kill_raylet(self, traffic: Traffic) -> None:
        node = self.draw.choice(self.nodes)
        self._lose_copies(lambda: self.ray_cluster.remove_node(node, allow_graceful=False), traffic)
        self.nodes.remove(node)
        self.add_node()

    def stop_tier(self, traffic: Traffic) -> None:
        pid = self._some_tier()
        self._lose_copies(lambda: os.kill(pid, signal.SIGSTOP), traffic)
        os.kill(pid, signal.SIGCONT)

    def stop_tier_shortly(self, traffic: Traffic) -> None:
        self._stop(self._some_tier(), 2.0, traffic)

    def stop_coordinator(self, traffic: Traffic) -> None:
        self._stop(self._coordinator(), self.draw.choice([2.0, 6.0]), traffic)

    def stop_raylet(self, traffic: Traffic) -> None:
        """Until its node is given up; when it wakes it finds that it is dead, and ends."""
        node = self.draw.choice(self.nodes)
        pid = node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid
        self._lose_copies(lambda: os.kill(pid, signal.SIGSTOP), traffic)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not is_running(pid), 60)
        self.ray_cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)
        self.add_node()

    def stop_raylet_shortly(self, traffic: Traffic) -> None:
        node = self.draw.choice(self.nodes)
        self._stop(node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid, 0.7, traffic)

    def kill_tiers(self, members: set[str]) -> None:
        """All of these at once."""
        pids = {self.pid_of_member(member) for member in members}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    # -- what there is ------------------------------------------------------------------------------

    def members_of(self, keys: list[str]) -> dict[str, set[str]]:
        """Which members have each key."""
        located = self._client.locate_many(keys, touch=False, timeout_s=60)
        return {key: {m for m, _ in where.members} for key, where in zip(keys, located, strict=True)}

    def held(self) -> dict[str, tuple[int, set[str]]]:
        """Every key, with its size in bytes and the members that have it."""
        keys = list(self._client.keys(""))
        located = self._client.locate_many(keys, touch=False, timeout_s=60) if keys else ()
        return {
            key: (where.nbytes, {member for member, _ in where.members})
            for key, where in zip(keys, located, strict=True)
        }

    def living_actors(self) -> list[dict[str, Any]]:
        """The actors of this cluster that Ray keeps alive, those that it is restarting included."""
        return list(self._actors().values())

    def pid_of_member(self, member: str) -> int:
        name = ray.get(self._coordinator_handle().actor_name.remote(member), timeout=30)
        (actor,) = [a for a in self._actors().values() if a["Name"] == name]
        return int(actor["Pid"])

    def wait_until_well(self, traffic: Traffic, timeout_s: float) -> None:
        """Until every value that is promised has all the copies that were asked for."""
        wait_until(lambda: not self.ailing(traffic), timeout_s)

    def ailing(self, traffic: Traffic) -> list[str]:
        """Keys that want copies, of those that are not being written right now."""
        promised = list(traffic.promised())
        if not promised:
            return []
        tiers = {tier.member: tier for tier in self.cluster.status().tiers}
        held = self.members_of(promised)
        still = traffic.promised().keys()
        found = []
        for key, members in held.items():
            options = KINDS[key.partition("/")[0]]
            there = [tiers[member] for member in members if member in tiers]
            enough = len({tier.node for tier in there}) >= options.get("replicas", 1)
            durable = not options.get("durable") or any(tier.durable for tier in there)
            if key in still and not (enough and durable):
                found.append(key)
        return found

    # -- parts --------------------------------------------------------------------------------------

    def _lose_copies(self, fault: Callable[[], None], traffic: Traffic) -> None:
        """A fault that may take copies away: only when all are there, and then until all are there again."""
        self.wait_for_tiers()
        self.wait_until_well(traffic, 60)
        before = self._announced("left")
        fault()
        wait_until(lambda: self._announced("left") > before, NOTICED_S)
        noticed_s = time.monotonic()
        self.wait_until_well(traffic, WELL_S)
        print(f"    well {time.monotonic() - noticed_s:.1f} s after the loss was noticed")

    def _stop(self, pid: int, seconds: float, traffic: Traffic) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            traffic.pause(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _announced(self, what: str) -> int:
        """The number of the last announcement of a kind."""
        handle = self._coordinator_handle()
        heard = ray.get(handle.events_after.remote("another life: so all of this one", 0, 0.0), timeout=60)
        return max((a.number for a in heard.found if a.what == what), default=0)

    def _some_tier(self) -> int:
        tiers = [a for a in self._actors().values() if "/tier/" in a["Name"] and a["State"] == "ALIVE"]
        actor = self.draw.choice(sorted(tiers, key=lambda a: str(a["Name"])))
        print(f"    {actor['Name']}")
        return int(actor["Pid"])

    def _coordinator(self) -> int:
        """Its process; of one that was killed just now, the next one."""
        name, found = coordinator_name(self.cluster.name), list[int]()

        def look() -> bool:
            alive = (a for a in self._actors().values() if a["State"] == "ALIVE")
            found[:] = [int(actor["Pid"]) for actor in alive if actor["Name"] == name]
            return bool(found)

        wait_until(look, 60)
        return found[0]

    def _coordinator_handle(self) -> Any:
        return ray.get_actor(coordinator_name(self.cluster.name), NAMESPACE)

    def _actors(self) -> dict[str, dict[str, Any]]:
        prefix = f"{self.cluster.name}/"
        found = actor_table()
        return {i: a for i, a in found.items() if a["Name"].startswith(prefix) and a["State"] != "DEAD"}


def is_running(pid: int) -> bool:
    """Whether the process is there (and not only its exit status)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
