"""`Leaks`: whether there are only those actors, objects and files of which the status speaks."""

from __future__ import annotations

import json
from pathlib import Path

from memories.actors.names import coordinator_name, tier_actor_name
from memories.actors.parcel import INLINE_BYTES
from memories.tiers.cold.cold_blobs import SMALL_BYTES
from memories.tiers.cold.folder import TEMPORARY, key_digest

from .chaos import Chaos, is_running
from .conftest import object_store_bytes, wait_until

FRAME_BYTES = 2_000
"""What Ray may add to a value of which it makes an object."""
WAIT_S = 60.0


class Leaks:
    """Compares while the cluster lives; `store_before` is what the object stores held before it."""

    def __init__(self, chaos: Chaos, storage: Path, store_before: int) -> None:
        self._chaos = chaos
        self._storage = storage
        self._store_before = store_before

    def check(self) -> None:
        """Fail with what is left over, after the time that clearing up may take."""
        found: list[str] = []

        def clean() -> bool:
            found[:] = [*self.actors(), *self.objects(), *self.files()]
            return not found

        try:
            wait_until(clean, WAIT_S)
        except AssertionError:
            raise AssertionError("\n".join(["left over:", *found])) from None

    def actors(self) -> list[str]:
        """One coordinator and one actor for each tier of each living node, and no process of earlier ones."""
        name, living = self._chaos.cluster.name, self._chaos.living_actors()
        status = self._chaos.cluster.status()
        nodes = {node.node for node in status.nodes if node.online}
        told = {tier_actor_name(name, f"{tier.node}/{tier.tier}0") for tier in status.tiers}
        told.add(coordinator_name(name))
        there = [str(actor["Name"]) for actor in living]
        wrong = [f"actor {one} is there {there.count(one)} times" for one in told if there.count(one) != 1]
        wrong += [f"actor {one} is not in the status" for one in there if one not in told]
        wrong += [f"tier {tier.member} is on no node" for tier in status.tiers if tier.node not in nodes]
        pids = {int(actor["Pid"]) for actor in living}
        wrong += [f"process {pid} goes on" for pid in self._chaos.pids - pids if is_running(pid)]
        return wrong

    def objects(self) -> list[str]:
        """In the object stores there are the large values of the warm tiers, once each."""
        ready = {tier.member for tier in self._chaos.cluster.status().tiers if tier.tier == "warm"}
        held = self._chaos.held()
        told = sum(
            (nbytes + FRAME_BYTES) * len(members & ready)
            for nbytes, members in held.values()
            if nbytes >= INLINE_BYTES
        )
        there = object_store_bytes() - self._store_before
        if there <= told:
            return []
        return [f"{there:,} bytes in the object stores, of which the status knows {told:,}"]

    def files(self) -> list[str]:
        """On the disks: one folder for each cold tier, and in it one file for each large value it has."""
        status = self._chaos.cluster.status()
        members = {tier.member for tier in status.tiers if tier.tier == "cold"} | set(status.away)
        held = self._chaos.held()
        wrong = [f"{path} is left" for path in self._storage.rglob(f"*{TEMPORARY}")]
        seen = set()
        for folder in sorted(self._storage.glob("*/disk-*")):
            identity = json.loads((folder / "member.json").read_text())["identity"]
            member = f"disk-{identity}/cold"
            seen.add(member)
            if member not in members:
                wrong.append(f"{folder} belongs to {member}, which the status does not know")
            if member in status.away:
                continue  # nobody can clear up there now
            told = {
                key_digest(key)
                for key, (size, where) in held.items()
                if member in where and size > SMALL_BYTES
            }
            there = [path.name.partition("-")[0] for path in (folder / "cold" / "values").iterdir()]
            if sorted(there) != sorted(told):
                wrong.append(f"{folder} has {len(there)} files of values, {member} has {len(told)} values")
        return wrong + [f"{member} has no folder" for member in members - seen]
